//! Runs the program in a folder of its own, with nothing of this machine's environment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

pub(crate) const KEY: &str = "spk_test_0123456789abcdef0123456789abcdef";
/// Far longer than anything here takes; a test that hangs should end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn sealpost(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealpost"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Ran {
    Ran(command.output().expect("the program runs"))
}

/// With text on standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    Ran(child.wait_with_output().expect("it ends"))
}

pub(crate) struct Ran(Output);

impl Ran {
    pub(crate) fn code(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).trim_end().to_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).trim_end().to_owned()
    }

    /// Succeeded, and this is what it printed.
    #[track_caller]
    pub(crate) fn ok(&self) -> String {
        assert_eq!(self.code(), 0, "{}\n{}", self.out(), self.err());
        self.out()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }
}

/// A process that is ended with the test.
pub(crate) struct Running {
    child: Child,
    pub(crate) lines: Receiver<String>,
    pub(crate) notes: Receiver<String>,
}

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        let lines = follow(child.stdout.take().expect("a pipe"));
        let notes = follow(child.stderr.take().expect("a pipe"));
        Self { child, lines, notes }
    }

    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of output")
    }

    /// The first note that holds this text.
    #[track_caller]
    pub(crate) fn note_with(&self, text: &str) -> String {
        loop {
            let note = self.notes.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("a note with `{text}`"));
            if note.contains(text) {
                return note;
            }
        }
    }

    pub(crate) fn interrupt(&self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(sent.success());
    }

    pub(crate) fn wait(mut self) -> i32 {
        self.child.wait().expect("it ends").code().unwrap_or(-1)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A server in a folder of its own.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) url: String,
    _running: Running,
}

impl Server {
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = sealpost(folder.path());
        command.arg("serve").env("SEALPOST_LISTEN", "127.0.0.1:0").env("SEALPOST_BOOTSTRAP_API_KEY", KEY);
        command.envs(settings.iter().copied());
        let running = Running::start(&mut command);
        let line = running.line();
        let url = line.strip_prefix("sealpost listening on ").expect(&line).to_owned();
        Self { folder, url, _running: running }
    }

    /// A command that knows this server and its key.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sealpost(self.folder.path());
        command.args(arguments).env("SEALPOST_SERVER", &self.url).env("SEALPOST_API_KEY", KEY);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }
}
