"""What no page may do: break the content security policy, ask somebody else, run or style inline, or take a stranger's text
for its own."""

from __future__ import annotations

from browser.chromium import Visitor
from browser.scenes import Scene
from support.checks import Checks

# What is inline, or comes from a text that somebody else wrote.
INLINE = """() => {
    const found = [];
    for (const one of document.querySelectorAll("*")) {
        if (one.tagName === "SCRIPT" && !one.src) found.push("inline script");
        if (one.tagName === "STYLE") found.push("style element");
        for (const { name } of one.attributes)
            if (name.startsWith("on") || name === "style") found.push(`${one.tagName} ${name}`);
        if (one.matches('img[src="x"]')) found.push("a stranger's image");
        for (const name of ["href", "src", "action"])
            if (/^\\s*(javascript|data):/i.test(one.getAttribute(name) || "")) found.push(`${one.tagName} ${name}`);
    }
    if (window.stolen) found.push("a stranger's script ran");
    return found;
}"""
ELSEWHERE = "http://127.0.0.1:9"
ADD = "document.head.append(Object.assign(document.createElement('{}'), {}))"
FORBIDDEN = {
    "an inline script": ADD.format("script", "{textContent: 'window.stolen = 1'}"),
    "an inline style": ADD.format("style", "{textContent: 'p {}'}"),
    "a script of somebody else": ADD.format("script", f"{{src: '{ELSEWHERE}/x.js'}}"),
    "a picture of somebody else": ADD.format("img", f"{{src: '{ELSEWHERE}/x.png'}}"),
    "a call to somebody else": f"fetch('{ELSEWHERE}').catch(() => {{}})",
    "a frame": ADD.format("iframe", "{src: '/console'}").replace("head", "body"),
    "a form to somebody else": f"const form = {ADD.format('form', '{}').replace('document.head.append(', '').removesuffix(')')}; "
    f"form.action = '{ELSEWHERE}'; document.body.append(form); form.submit()",
}


class Policy:
    def __init__(self) -> None:
        self.seen = 0
        self.wrong: list[str] = []

    def at(self, scene: Scene, visitor: Visitor) -> None:
        self.seen += 1
        self.wrong += [f"{scene.name}: {found}" for found in visitor.page.evaluate(INLINE)]
        self.wrong += [f"{scene.name}: {said}" for said in visitor.complaints]
        visitor.complaints.clear()

    def tell(self, checks: Checks) -> None:
        checks.that(f"{self.seen} pages keep to the policy and show hostile text as text", not self.wrong, self.wrong)

    def prove(self, checks: Checks, visitor: Visitor) -> None:
        for what, script in FORBIDDEN.items():
            visitor.complaints.clear()
            visitor.page.evaluate(f"() => {{ {script}; }}")
            visitor.page.wait_for_timeout(100)
            told = [said for said in visitor.complaints if "Content Security Policy" in said]
            checks.that(f"the policy forbids {what}, and the look sees it", bool(told), visitor.complaints)
        checks.equal("none of it ran", visitor.page.evaluate("window.stolen"), None)
