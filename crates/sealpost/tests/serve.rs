//! The real program on a folder of its own: how it starts, refuses to start, is spoken to, and ends.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

#[path = "../../sealpost-egress/tests/egress/name_server.rs"]
mod name_server;
#[expect(dead_code, reason = "the API's tests use the rest of it")]
#[path = "api/provider.rs"]
mod provider;

use name_server::Names;
use provider::{Provider, Signer};

/// A folder with the settings that every command in it gets.
struct Place {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

/// What a command ended with.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Place {
    fn new(settings: &[(&'static str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { folder: tempfile::tempdir().expect("a folder"), settings }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path().join("sealpost-data").join(name)
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealpost"));
        command.args(line).current_dir(self.folder.path()).env_clear().stdin(Stdio::null());
        command.env("SEALPOST_LISTEN", "127.0.0.1:0");
        command.envs(self.settings.iter().map(|(name, value)| (*name, value.as_str())));
        command
    }

    fn run(&self, line: &[&str]) -> Ended {
        let output = self.command(line).output().expect("it runs");
        Ended {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn serve(&self) -> Serving {
        let mut child =
            self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("it prints");
        let Some(address) = line.trim_end().strip_prefix("sealpost listening on http://") else {
            let mut said = String::new();
            child.stderr.take().expect("piped").read_to_string(&mut said).expect("it says why");
            panic!("it did not get ready: {line:?} {said}");
        };
        Serving { address: address.to_owned(), child, out }
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.data(name)).unwrap_or_else(|e| panic!("{name}: {e}")).permissions().mode() & 0o777
    }
}

struct Serving {
    child: Child,
    address: String,
    out: BufReader<std::process::ChildStdout>,
}

impl Serving {
    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it lives");
    }

    /// SIGTERM; the exit code, what else it printed, its log, and how long it took.
    fn stop(mut self) -> (Option<i32>, String, String, Duration) {
        let began = Instant::now();
        self.terminate();
        let (mut out, mut log) = (String::new(), String::new());
        self.out.read_to_string(&mut out).expect("its output ends");
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("its log ends");
        let status = self.child.wait().expect("it ends");
        (status.code(), out, log, began.elapsed())
    }

    fn get(&self, path: &str, key: &str) -> (String, String) {
        self.call("GET", path, key, "")
    }

    /// Status line and body.
    fn call(&self, method: &str, path: &str, key: &str, body: &str) -> (String, String) {
        self.call_at("localhost", method, path, key, body)
    }

    fn call_at(&self, host: &str, method: &str, path: &str, key: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

#[test]
fn it_says_once_that_it_listens_and_ends_in_order() {
    let place = Place::new(&[]);
    let serving = place.serve();
    assert_eq!(serving.get("/livez", "").0, "HTTP/1.1 200 OK");
    assert_eq!(serving.get("/readyz", "").0, "HTTP/1.1 200 OK");
    // Neither a caller that says nothing nor one that is slow to finish its head may hold up the end.
    let _silent = TcpStream::connect(&serving.address).expect("it listens");
    let mut slow = TcpStream::connect(&serving.address).expect("it listens");
    slow.write_all(b"GET / HTTP/1.1\r\nHost:").expect("it reads");

    let (code, more, log, took) = serving.stop();

    assert_eq!((code, more.as_str()), (Some(0), ""), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!place.data("admin.sock").exists());
}

#[test]
fn a_custom_domain_is_looked_up_at_the_configured_servers_and_known_after_a_restart() {
    const KEY: &str = "bootstrap-key-of-the-operator-0123456789";
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    let names = runtime.block_on(Names::serving(&[]));
    let place = Place::new(&[
        ("SEALPOST_BOOTSTRAP_API_KEY", KEY),
        ("SEALPOST_BASE_DOMAIN", "posts.example"),
        ("SEALPOST_DNS_SERVERS", &names.address.to_string()),
    ]);
    let jwks = |serving: &Serving| serving.call_at("id.example", "GET", "/v1/webhooks/jwks", "", "").0;

    let serving = place.serve();
    let input = r#"{"name":"Acme","logoUrl":"https://id.example/logo.png","domain":"id.example"}"#;
    let (status, body) = serving.call("POST", "/v1/config/domain", KEY, input);
    assert_eq!(status, "HTTP/1.1 201 Created", "{body}");
    let made: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(jwks(&serving), "HTTP/1.1 404 Not Found");
    names.set("id.example", &[&format!("txt:{}", made["verificationToken"].as_str().expect("a token"))]);
    assert_eq!(serving.call("POST", "/v1/config/domain/verify", KEY, "").0, "HTTP/1.1 204 No Content");
    assert_eq!(jwks(&serving), "HTTP/1.1 200 OK");
    assert_eq!(serving.stop().0, Some(0));

    assert_eq!(jwks(&place.serve()), "HTTP/1.1 200 OK");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1, "one question, and none at the start");
}

#[test]
fn tokens_of_the_configured_provider_are_taken_and_doctor_asks_it() {
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    let provider = runtime.block_on(Provider::start());
    let signer = Signer::ed();
    provider.publish([signer.jwk("d")]);
    let place = Place::new(&[
        ("SEALPOST_EGRESS_HTTP", "loopback"),
        ("SEALPOST_OPENID_ISSUER", &provider.issuer),
        ("SEALPOST_OPENID_AUDIENCE", provider::AUDIENCE),
        ("SEALPOST_OPENID_TENANT", "default"),
        ("SEALPOST_OPENID_ROLES", "webhook-ops=issuer"),
    ]);
    let claims = serde_json::json!({
        "iss": provider.issuer, "aud": provider::AUDIENCE, "sub": "u-1", "exp": 4_000_000_000_u64,
        "roles": ["webhook-ops"],
    });
    let token = signer.token(&serde_json::json!({"alg": "EdDSA", "kid": "d"}), &claims);
    let serving = place.serve();
    assert_eq!(provider.asked(), (0, 0), "nobody is asked before a token needs it");
    assert_eq!(serving.get("/v1/webhooks", &token).0, "HTTP/1.1 200 OK");
    assert_eq!(provider.asked(), (1, 1));
    let doctor = place.run(&["doctor"]);
    let said = format!("ok    the OpenID provider {} gives a key", provider.issuer);
    assert!(doctor.out.lines().any(|line| line == said), "{doctor:?}");
    assert_eq!(provider.asked(), (2, 2));
}

/// A server with one send under way that does not end by itself; the receiver takes the request and says nothing.
fn with_a_hanging_send() -> (Place, Serving, TcpStream) {
    const KEY: &str = "bootstrap-key-of-the-operator-0123456789";
    let place = Place::new(&[
        ("SEALPOST_BOOTSTRAP_API_KEY", KEY),
        ("SEALPOST_EGRESS_HTTP", "loopback"),
        ("SEALPOST_TIMEOUT", "30s"),
    ]);
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = receiver.local_addr().expect("it is bound").port();
    let serving = place.serve();
    let webhook = format!(r#"{{"events":["OpenIdCredentialIssued"],"url":"http://127.0.0.1:{port}/hook"}}"#);
    let made = serving.call("POST", "/v1/webhooks", KEY, &webhook);
    assert_eq!(made.0, "HTTP/1.1 201 Created", "{made:?}");
    let event = r#"{"type":"OpenIdCredentialIssued","payload":{}}"#;
    let accepted = serving.call("POST", "/v1/webhooks/events", KEY, event);
    assert_eq!(accepted.0, "HTTP/1.1 202 Accepted", "{accepted:?}");
    let (mut request, _) = receiver.accept().expect("it is sent");
    assert_eq!(request.read(&mut [0; 4]).expect("it begins"), 4);
    (place, serving, request)
}

#[test]
fn a_send_that_does_not_end_is_left_to_the_next_start() {
    let (place, serving, request) = with_a_hanging_send();
    let (code, _, log, took) = serving.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    drop(request);
    let (_, _, log, _) = place.serve().stop();
    assert!(log.contains(r#""orphans":1"#), "{log}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (_place, mut serving, _request) = with_a_hanging_send();
    let began = Instant::now();
    serving.terminate();
    // The first one has been taken when the port is closed.
    while TcpStream::connect(&serving.address).is_ok() {
        std::thread::yield_now();
    }
    serving.terminate();
    assert_eq!(serving.child.wait().expect("it ends").code(), Some(143));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_new_store_gets_an_admin_key_that_only_a_file_of_its_owner_holds() {
    let place = Place::new(&[]);
    let serving = place.serve();
    assert_eq!(
        [place.mode("admin.key"), place.mode("admin.sock"), place.mode("master.key"), place.mode(".")],
        [0o600, 0o600, 0o600, 0o700]
    );
    let key = fs::read_to_string(place.data("admin.key")).expect("the key");
    assert_eq!(serving.get("/v1/webhooks", key.trim()), ("HTTP/1.1 200 OK".into(), r#"{"data":[]}"#.into()));
    assert_eq!(serving.get("/v1/webhooks", "spk_wrong").0, "HTTP/1.1 401 Unauthorized");
    let (code, more, log, _) = serving.stop();
    assert_eq!((code, more.contains("spk_"), log.contains("spk_")), (Some(0), false, false), "{log}");

    // Made once: the next start leaves it alone.
    let serving = place.serve();
    assert_eq!(fs::read_to_string(place.data("admin.key")).expect("the key"), key);
    assert_eq!(serving.get("/v1/webhooks", key.trim()).0, "HTTP/1.1 200 OK");
}

#[test]
fn with_a_bootstrap_key_no_other_is_made() {
    let key = "bootstrap-key-of-the-operator-0123456789";
    let place = Place::new(&[("SEALPOST_BOOTSTRAP_API_KEY", key)]);
    let serving = place.serve();
    assert_eq!(serving.get("/v1/webhooks", key).0, "HTTP/1.1 200 OK");
    assert!(!place.data("admin.key").exists());
}

#[test]
fn a_first_key_that_a_crash_interrupted_is_made_again() {
    let place = Place::new(&[]);
    let (code, ..) = place.serve().stop();
    assert_eq!(code, Some(0));
    fs::rename(place.data("admin.key"), place.data("admin.key.new")).expect("as a crash would leave it");
    let serving = place.serve();
    let key = fs::read_to_string(place.data("admin.key")).expect("the key");
    assert_eq!(serving.get("/v1/webhooks", key.trim()).0, "HTTP/1.1 200 OK");
    assert!(!place.data("admin.key.new").exists());
    let clients = place.run(&["client", "list", "--json"]).json();
    assert_eq!(clients["data"].as_array().map(Vec::len), Some(1), "{clients}");
}

#[test]
fn a_second_server_is_refused() {
    let place = Place::new(&[]);
    let _serving = place.serve();
    let second = place.run(&["serve"]);
    assert_eq!((second.code, second.out.as_str()), (Some(4), ""));
    assert_eq!(
        second.err,
        "sealpost: the data folder ./sealpost-data is in use by another sealpost; stop that one first\n"
    );
}

#[test]
fn without_its_master_key_a_store_is_not_opened() {
    let place = Place::new(&[]);
    place.serve().stop();
    let key = fs::read(place.data("master.key")).expect("the key");

    fs::remove_file(place.data("master.key")).expect("it was there");
    let missing = place.run(&["serve"]);
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert!(missing.err.contains("master.key is missing"), "{missing:?}");
    assert!(!place.data("master.key").exists(), "no new key for an old store");

    let wrong = format!("sealpost-master-key-1 {}\n", "ab".repeat(32));
    fs::write(place.data("master.key"), wrong).expect("written");
    fs::set_permissions(place.data("master.key"), fs::Permissions::from_mode(0o600)).expect("its mode");
    let wrong = place.run(&["serve"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("another key"), "{wrong:?}");

    fs::write(place.data("master.key"), key).expect("written");
    assert_eq!(place.serve().stop().0, Some(0));
}

#[test]
fn wrong_settings_are_refused_before_anything_is_made() {
    for (settings, said) in [
        ([("SEALPOST_LISTEN", "0.0.0.0:0")].as_slice(), "would take API keys and credentials in the clear"),
        (
            &[("SEALPOST_TLS_CERT", "c.pem"), ("SEALPOST_TLS_KEY", "k.pem")],
            "the TLS certificate c.pem cannot be read",
        ),
        (&[("SEALPOST_EGRESS_CA", "ca.pem")], "the file of trust anchors ca.pem cannot be read"),
        (&[("SEALPOST_STORE", "postgres://u:canary@db/x")], "SEALPOST_MASTER_KEY_FILE must be set"),
        (&[("SEALPOST_TYPO", "x")], "SEALPOST_TYPO is not a setting of this release."),
    ] {
        let place = Place::new(settings);
        let ended = place.run(&["serve"]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(2), ""), "{ended:?}");
        assert!(ended.err.contains(said) && !ended.err.contains("canary"), "{ended:?}");
        assert!(!place.data("").exists(), "{settings:?}");
    }
}

#[test]
fn a_file_of_settings_is_read_and_flags_win() {
    let place = Place::new(&[]);
    let write = |text: &str| fs::write(place.folder.path().join("sealpost.toml"), text).expect("written");
    write("store = 'sqlite:elsewhere/s.db'\nurl_policy = 'mattr'\n");
    place.serve().stop();
    assert!(place.folder.path().join("elsewhere/s.db").exists());
    assert_eq!(place.run(&["tenant", "list", "--json"]).json()["data"][0]["subdomain"], "default");
    assert_eq!(place.run(&["tenant", "list", "--store", "sqlite:nowhere/s.db"]).code, Some(3));
    write("url_polizy = 'mattr'\n");
    let refused = place.run(&["tenant", "list"]);
    assert_eq!(refused.code, Some(2));
    assert_eq!(
        refused.err,
        "sealpost: `url_polizy` in the configuration file is not a setting of this release.\n"
    );
}

/// The same commands with a running server, which then does them, and without one.
#[test]
fn operators_commands_work_with_and_without_a_server() {
    for with_server in [true, false] {
        let place = Place::new(&[]);
        let serving = place.serve();
        let serving = if with_server {
            Some(serving)
        } else {
            serving.stop();
            None
        };

        let tenant = place
            .run(&["tenant", "create", "acme", "--name", "Acme Ltd", "--keep-delivered", "1h", "--json"])
            .json();
        assert_eq!((&tenant["subdomain"], &tenant["name"]), (&"acme".into(), &"Acme Ltd".into()));
        assert_eq!(tenant["retention"]["payloadAfterDelivered"], "3600s");
        let again = place.run(&["tenant", "create", "acme"]);
        assert_eq!((again.code, again.err.as_str()), (Some(4), "sealpost: the subdomain `acme` is taken\n"));

        let made = place
            .run(&[
                "client",
                "create",
                "erp",
                "--role",
                "publisher",
                "--tenant",
                "acme",
                "--expires",
                "90d",
                "--json",
            ])
            .json();
        let key = made["key"].as_str().expect("a key").to_owned();
        assert!(key.starts_with("spk_") && key.len() == 47, "{key}");
        let listed = place.run(&["client", "list", "--tenant", "acme"]);
        assert!(listed.out.contains("erp") && !listed.out.contains("spk_"), "{listed:?}");
        if let Some(serving) = &serving {
            assert_eq!(serving.get("/v1/webhooks/event-types", &key).0, "HTTP/1.1 200 OK");
        }
        let id = made["id"].as_str().expect("an id");
        assert_eq!(place.run(&["client", "delete", id, "--tenant", "acme"]).code, Some(0));
        assert_eq!(place.run(&["client", "delete", id, "--tenant", "acme"]).code, Some(3));
        if let Some(serving) = &serving {
            assert_eq!(serving.get("/v1/webhooks/event-types", &key).0, "HTTP/1.1 401 Unauthorized");
        }

        let both = place.run(&[
            "client",
            "create",
            "b",
            "--role",
            "auditor,publisher",
            "--tenant",
            "acme",
            "--json",
        ]);
        assert_eq!(both.json()["roles"], serde_json::json!(["publisher", "auditor"]));
        let shown = place.run(&["tenant", "get", "acme", "--json"]).json();
        assert_eq!((&shown["id"], &shown["name"]), (&tenant["id"], &tenant["name"]));

        let operator =
            place.run(&["bootstrap", "operator", "--name", "ops", "--expires", "90d", "--json"]).json();
        let operator = operator["key"].as_str().expect("a key").to_owned();
        assert!(operator.starts_with("spo_"), "{operator}");
        let gone = format!("/v1/tenants/{}", tenant["id"].as_str().expect("an id"));
        if let Some(serving) = &serving {
            assert_eq!(serving.get(&gone, &operator).0, "HTTP/1.1 200 OK");
        }
        let log = place.run(&["audit", "--tenant", "acme", "--json"]).json();
        let log = log["data"].as_array().expect("entries").clone();
        let what = |entry: &Value| entry["what"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            log.iter().map(what).collect::<Vec<_>>(),
            ["create client", "delete client", "create client", "create tenant"]
        );
        assert!(!log.iter().any(|entry| entry.to_string().contains("spk_")), "{log:?}");
        let last = log[2]["id"].to_string();
        let rest = place.run(&["audit", "--tenant", "acme", "--before", &last]);
        assert!(rest.out.contains("create tenant") && !rest.out.contains("client"), "{rest:?}");
        assert!(place.run(&["audit"]).out.contains("create operator"));

        let asked = place.run(&["tenant", "delete", "acme"]);
        assert_eq!(asked.code, Some(4), "nobody said yes: {asked:?}");
        assert_eq!(place.run(&["tenant", "delete", "acme", "--yes"]).code, Some(0));
        assert_eq!(place.run(&["tenant", "delete", "acme", "--yes"]).code, Some(3));
        assert_eq!(place.run(&["tenant", "get", "acme"]).code, Some(3));
        let default = place.run(&["tenant", "delete", "default", "--yes"]);
        assert_eq!(default.code, Some(4), "{default:?}");
        if let Some(serving) = &serving {
            assert_eq!(serving.get(&gone, &operator).0, "HTTP/1.1 404 Not Found");
        }
        assert_eq!(place.run(&["client", "list", "--tenant", "nobody"]).code, Some(3));
        let unbound = place.run(&["client", "create", "x", "--role", "subscriber"]);
        assert_eq!(unbound.code, Some(2), "{unbound:?}");
        let past =
            place.run(&["client", "create", "x", "--role", "issuer", "--expires", "2020-01-01T00:00:00Z"]);
        assert_eq!(past.code, Some(4), "{past:?}");

        let erased = place.run(&["erase", "--subject", "nobody", "--json"]);
        assert_eq!((erased.code, &erased.json()["count"]), (Some(0), &0.into()));
        assert_eq!(place.run(&["erase"]).code, Some(2));

        let doctor = place.run(&["doctor"]);
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
        assert!(doctor.out.contains("ok    the database is sound"), "{doctor:?}");
        fs::set_permissions(place.data("admin.key"), fs::Permissions::from_mode(0o644)).expect("its mode");
        let doctor = place.run(&["doctor", "--json"]);
        assert_eq!((doctor.code, doctor.err.as_str(), &doctor.json()["ok"]), (Some(1), "", &false.into()));
    }
}

#[test]
fn keys_are_rotated_only_when_somebody_said_yes() {
    let place = Place::new(&[]);
    let serving = place.serve();
    let kids = || -> Vec<String> {
        let keys = place.run(&["key", "list", "--json"]).json();
        keys["data"]
            .as_array()
            .expect("keys")
            .iter()
            .map(|key| key["kid"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let before = kids();
    assert_eq!(before.len(), 2);
    let asked = place.run(&["key", "rotate", "--now"]);
    assert_eq!(asked.code, Some(4));
    assert!(asked.err.contains("known to load the key set once"), "{asked:?}");
    let early = place.run(&["key", "rotate", "--yes"]);
    assert_eq!(early.code, Some(4), "{early:?}");
    assert!(early.err.contains("the next key may sign from"), "{early:?}");
    assert_eq!(kids(), before);

    assert_eq!(place.run(&["key", "rotate", "--now", "--yes"]).code, Some(0));

    let after = kids();
    assert_eq!((after.len(), &after[0], &after[2]), (3, &before[1], &before[0]));
    let (_, published) = serving.get("/v1/webhooks/jwks", "");
    let published: Value = serde_json::from_str(&published).expect("a key set");
    assert_eq!(published["keys"][0]["kid"], after[0].as_str());
}

#[test]
fn a_backup_comes_back_without_the_master_key_in_it() {
    let place = Place::new(&[]);
    let serving = place.serve();
    assert_eq!(place.run(&["tenant", "create", "kept"]).code, Some(0));
    let backup = place.run(&["backup", "copy.db"]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    assert!(backup.out.contains("The master key is not in it"), "{backup:?}");
    assert!(backup.out.contains("erasures.jsonl with the backups"), "{backup:?}");
    let master = fs::read_to_string(place.data("master.key")).expect("the key");
    let hex = master.split_whitespace().next_back().expect("hexadecimal digits");
    let copy = place.folder.path().join("copy.db");
    assert!(!holds(&copy, hex.as_bytes()));
    assert_eq!(fs::metadata(&copy).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(place.run(&["backup", "copy.db"]).code, Some(1), "never over anything");
    assert_eq!(place.run(&["tenant", "create", "later"]).code, Some(0));

    let names = || -> Vec<String> {
        let tenants = place.run(&["tenant", "list", "--json"]).json();
        tenants["data"]
            .as_array()
            .expect("tenants")
            .iter()
            .map(|t| t["subdomain"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(names(), ["default", "kept", "later"]);
    assert_eq!(place.run(&["restore", "copy.db"]).code, Some(4), "there is a store");
    let running = place.run(&["restore", "copy.db", "--replace"]);
    assert_eq!(running.code, Some(4), "{running:?}");
    serving.stop();
    let restored = place.run(&["restore", "copy.db", "--replace"]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.err.contains("erasures made after this backup are not known here"), "{restored:?}");
    assert_eq!(names(), ["default", "kept"]);
    fs::write(place.folder.path().join("text"), "no database").expect("written");
    let refused = place.run(&["restore", "text", "--replace"]);
    assert_eq!(
        (refused.code, refused.err.as_str()),
        (Some(4), "sealpost: text is not a Sealpost database\n")
    );
    fs::write(place.data("erasures.jsonl"), "").expect("written");
    let restored = place.run(&["restore", "copy.db", "--replace"]);
    assert_eq!((restored.code, restored.err.as_str()), (Some(0), ""), "{restored:?}");
    assert_eq!(place.run(&["restore", "nothing.db", "--replace"]).code, Some(3));
}

fn holds(file: &Path, needle: &[u8]) -> bool {
    let bytes = fs::read(file).expect("readable");
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port");
    let address = free.to_string();
    let place = Place::new(&[("SEALPOST_METRICS_LISTEN", &address)]);
    let serving = place.serve();
    assert_eq!(serving.get("/metrics", "").0, "HTTP/1.1 401 Unauthorized");
    let mut stream = TcpStream::connect(free).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[test]
fn a_taken_port_of_the_metrics_is_told_from_one_of_the_api() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let place = Place::new(&[("SEALPOST_METRICS_LISTEN", &address)]);
    let refused = place.run(&["serve"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("the metrics listener (SEALPOST_METRICS_LISTEN) cannot listen on"),
        "{refused:?}"
    );
}

#[test]
fn openings_are_warned_about_in_the_log() {
    let place = Place::new(&[("SEALPOST_EGRESS_HTTP", "loopback"), ("SEALPOST_EGRESS_ALLOW", "127.0.0.0/8")]);
    let (_, _, log, _) = place.serve().stop();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("\"WARN\"")).collect();
    assert_eq!(warnings.len(), 2, "{log}");
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
}

#[test]
fn wrong_usage_is_refused_by_name() {
    let place = Place::new(&[]);
    for (line, missing) in [(["copy"].as_slice(), "--from"), (&["copy", "--from", "a"], "--to")] {
        let ended = place.run(line);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains(missing), "{ended:?}");
    }
    assert_eq!(place.run(&["bootstrp"]).code, Some(2));
}

#[test]
fn documents_are_printed_without_a_server() {
    let place = Place::new(&[]);
    assert_eq!(place.run(&["openapi"]).json()["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.run(&["completions", shell]).out.contains("sealpost"));
    }
}
