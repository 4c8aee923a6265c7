//! `sealpost doctor`: what is wrong, or will be, with settings, files and store.
//!
//! First facts are gathered, then judged: the judging is pure. Warnings are for what works but should be known;
//! failures end with exit code 1.

mod openid;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Args;
use sealpost_core::target_url::UrlPolicy;
use sealpost_core::time::Timestamp;
use serde_json::json;

use super::client::{Exit, Failure};
use super::output::{self, OutputArgs, Paint};
use super::{StoreArgs, admin};
use crate::app::admin::{AdminAnswer, AdminCall, FindingView, Level};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    output: OutputArgs,
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// 2026-01-01: this program did not exist before.
const EARLIEST_NOW_MS: i64 = 1_767_225_600_000;

/// What was found on this machine.
#[derive(Clone, Debug)]
struct Facts {
    /// Permission bits; `None` if there is no such file.
    data_folder: Option<u32>,
    master_key: Option<u32>,
    admin_key: Option<u32>,
    tls_key: Option<u32>,
    resolv_conf: Option<String>,
    now: Timestamp,
}

impl Facts {
    fn gather(config: &Config, clock: &dyn Clock) -> Self {
        Self {
            data_folder: mode(config.data_folder()),
            master_key: mode(&config.master_key_file),
            admin_key: mode(&config.admin_key_file()),
            tls_key: config.tls.as_ref().and_then(|tls| mode(&tls.key)),
            resolv_conf: fs::read_to_string(RESOLV_CONF).ok(),
            now: clock.wall(),
        }
    }
}

fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.mode() & 0o777)
}

pub(super) async fn run(args: DoctorArgs) -> Result<(), Failure> {
    let config = args.store.load()?;
    let facts = Facts::gather(&config, &SystemClock::start());
    let mut findings = judge(&config, &facts);
    findings.extend(openid::findings(&config).await);
    if facts.data_folder.is_some() || config.store.is_shared() {
        match admin::ask_with(&config, AdminCall::Doctor).await {
            Ok(AdminAnswer::Findings(of_the_store)) => findings.extend(of_the_store),
            Ok(other) => return Err(admin::unexpected(&other)),
            Err(failure) => findings.push(fail("the store cannot be examined", failure.message)),
        }
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if args.output.json {
        output::json(&json!({ "ok": !failed, "findings": findings }))?;
    } else {
        let paint = args.output.paint();
        for finding in &findings {
            output::line(shown(finding, paint))?;
        }
    }
    // Everything has been said.
    if failed { Err(Failure::new(Exit::Failed, "")) } else { Ok(()) }
}

fn shown(finding: &FindingView, paint: Paint) -> String {
    let level = match finding.level {
        Level::Ok => paint.good("ok  "),
        Level::Warn => paint.careful("warn"),
        Level::Fail => paint.bad("fail"),
    };
    let what = output::safe(&finding.what);
    match &finding.advice {
        None => format!("{level}  {what}"),
        Some(advice) => format!("{level}  {what}\n      {}", output::safe(advice)),
    }
}

fn ok(what: impl Into<String>) -> FindingView {
    FindingView { level: Level::Ok, what: what.into(), advice: None }
}

fn warn(what: impl Into<String>, advice: impl Into<String>) -> FindingView {
    FindingView { level: Level::Warn, what: what.into(), advice: Some(advice.into()) }
}

fn fail(what: impl Into<String>, advice: impl Into<String>) -> FindingView {
    FindingView { level: Level::Fail, what: what.into(), advice: Some(advice.into()) }
}

fn judge(config: &Config, facts: &Facts) -> Vec<FindingView> {
    let mut findings = vec![ok("the settings are consistent")];
    let folder = config.data_folder().display();
    findings.push(match facts.data_folder {
        None if config.store.is_shared() => {
            ok(format!("there is no data folder {folder} yet; serve makes it"))
        }
        None => fail(
            format!("there is no data folder {folder}"),
            "`sealpost serve` makes it; or name the right SEALPOST_STORE",
        ),
        Some(mode) if mode & 0o022 != 0 => {
            fail(format!("others may write in the data folder {folder} (mode {mode:04o})"), "chmod 700 it")
        }
        Some(mode) if mode & 0o055 != 0 => {
            warn(format!("others may look into the data folder {folder} (mode {mode:04o})"), "chmod 700 it")
        }
        Some(_) => ok(format!("the data folder {folder} is its owner's alone")),
    });
    let file = config.master_key_file.display();
    // Before the first start there is nothing that a key could open.
    let begun = facts.data_folder.is_some() || config.store.is_shared();
    match facts.master_key {
        None if !begun => {}
        None => findings.push(fail(
            format!("the master key {file} is missing"),
            "bring it back: nothing opens without it",
        )),
        Some(mode) if mode & 0o077 != 0 => findings
            .push(fail(format!("others may read the master key {file} (mode {mode:04o})"), "chmod 600 it")),
        Some(_) => findings.push(ok(format!("the master key {file} is its owner's alone"))),
    }
    if begun && config.master_key_file.parent() == Some(config.data_folder()) {
        findings.push(warn(
            "the master key lies beside the data it protects",
            "whoever copies the folder has both; SEALPOST_MASTER_KEY_FILE moves it elsewhere",
        ));
    }
    if let Some(mode) = facts.admin_key {
        findings.push(match mode & 0o077 {
            0 => warn(
                "the first admin key is still in admin.key",
                "keep it safe elsewhere and delete the file",
            ),
            _ => fail(
                format!("others may read admin.key (mode {mode:04o})"),
                "delete that client and the file",
            ),
        });
    }
    match (&config.tls, facts.tls_key) {
        (None, _) => {}
        (Some(tls), None) => findings.push(fail(
            format!("the TLS key {} is missing", tls.key.display()),
            "the server will not start without it",
        )),
        (Some(tls), Some(mode)) if mode & 0o077 != 0 => findings.push(warn(
            format!("others may read the TLS key {} (mode {mode:04o})", tls.key.display()),
            "chmod 600 it",
        )),
        (Some(_), Some(_)) => findings.push(ok("the TLS key is its owner's alone")),
    }
    findings.push(match (config.listen.ip().is_loopback(), &config.tls) {
        (true, _) => ok(format!("only this machine reaches the API at {}", config.listen)),
        (false, Some(_)) => ok(format!("the API at {} speaks TLS", config.listen)),
        (false, None) => warn(
            format!("the API at {} is plain http behind a trusted proxy", config.listen),
            "let nobody but the proxy reach that port",
        ),
    });
    findings.push(match config.url_policy {
        UrlPolicy::Strict => ok("the URL policy is strict"),
        UrlPolicy::Mattr => {
            warn("the URL policy is mattr", "strict also refuses URLs that parsers disagree about")
        }
    });
    findings.extend(
        config
            .warnings()
            .into_iter()
            .map(|warning| warn(warning, "remove it where real receivers are served")),
    );
    let has_resolver = facts.resolv_conf.as_deref().is_some_and(|text| {
        text.lines().any(|line| line.split_ascii_whitespace().next() == Some("nameserver"))
    });
    findings.push(if has_resolver {
        ok(format!("{RESOLV_CONF} names a resolver"))
    } else {
        warn(format!("{RESOLV_CONF} names no resolver"), "only localhost names will resolve")
    });
    findings.push(if facts.now.millis() >= EARLIEST_NOW_MS {
        ok(format!("the clock says {}", facts.now))
    } else {
        fail(format!("the clock says {}", facts.now), "receivers refuse signatures from another time: set it")
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Flags};
    use expect_test::{Expect, expect};
    use std::collections::BTreeMap;

    const WELL: fn() -> Facts = || Facts {
        data_folder: Some(0o700),
        master_key: Some(0o600),
        admin_key: None,
        tls_key: None,
        resolv_conf: Some("search x\nnameserver 192.0.2.53\n".into()),
        now: Timestamp::from_millis(EARLIEST_NOW_MS),
    };

    fn check(settings: &[(&str, &str)], facts: &Facts, want: Expect) {
        let environment: BTreeMap<String, String> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = config::parse(&Flags::default(), &environment, None).expect("these settings are fine");
        let lines: Vec<String> = judge(&config, facts)
            .iter()
            .filter(|finding| finding.level != Level::Ok)
            .map(|finding| shown(finding, Paint::PLAIN))
            .collect();
        want.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn nothing_is_said_against_a_sound_machine() {
        check(&[("SEALPOST_MASTER_KEY_FILE", "/etc/sealpost/master.key")], &WELL(), expect![[""]]);
    }

    #[test]
    fn before_the_first_start_only_the_folder_is_missing() {
        check(
            &[],
            &Facts { data_folder: None, master_key: None, ..WELL() },
            expect![[r#"
                fail  there is no data folder ./sealpost-data
                      `sealpost serve` makes it; or name the right SEALPOST_STORE"#]],
        );
    }

    #[test]
    fn whatever_is_unsafe_is_named() {
        let bad = Facts {
            data_folder: Some(0o775),
            master_key: Some(0o640),
            admin_key: Some(0o600),
            tls_key: Some(0o644),
            resolv_conf: None,
            now: Timestamp::from_millis(0),
        };
        check(
            &[
                ("SEALPOST_LISTEN", "0.0.0.0:443"),
                ("SEALPOST_TLS_CERT", "cert.pem"),
                ("SEALPOST_TLS_KEY", "key.pem"),
                ("SEALPOST_URL_POLICY", "mattr"),
                ("SEALPOST_EGRESS_ALLOW", "10.0.0.0/8"),
            ],
            &bad,
            expect![[r#"
                fail  others may write in the data folder ./sealpost-data (mode 0775)
                      chmod 700 it
                fail  others may read the master key ./sealpost-data/master.key (mode 0640)
                      chmod 600 it
                warn  the master key lies beside the data it protects
                      whoever copies the folder has both; SEALPOST_MASTER_KEY_FILE moves it elsewhere
                warn  the first admin key is still in admin.key
                      keep it safe elsewhere and delete the file
                warn  others may read the TLS key key.pem (mode 0644)
                      chmod 600 it
                warn  the URL policy is mattr
                      strict also refuses URLs that parsers disagree about
                warn  SEALPOST_EGRESS_ALLOW: deliveries may reach networks that are not public: 10.0.0.0/8
                      remove it where real receivers are served
                warn  /etc/resolv.conf names no resolver
                      only localhost names will resolve
                fail  the clock says 1970-01-01T00:00:00.000Z
                      receivers refuse signatures from another time: set it"#]],
        );
    }
}
