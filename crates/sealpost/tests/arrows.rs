//! The arrows of ARCHITECTURE.md: which room may use which. Read from the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Room, and the rooms of this crate it must not name.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("api", &["console", "engine", "cli", "serve", "config"]),
    ("console", &["api", "engine", "cli", "serve", "config"]),
    ("engine", &["api", "console", "cli", "serve", "config"]),
    ("app", &["api", "console", "engine", "cli", "serve", "config"]),
    ("clock.rs", &["api", "console", "app", "engine", "cli", "serve", "config"]),
    ("peer.rs", &["api", "console", "app", "engine", "cli", "serve", "config"]),
];

/// Crates that one crate alone may link, or a few, by the word their manifest entry begins with.
const ONE_DOOR: [(&str, &[&str]); 4] = [
    ("rusqlite", &["sealpost-store"]),
    ("tokio-postgres", &["sealpost-store"]),
    ("hickory-resolver", &["sealpost-egress"]),
    // Of those who connect to others: to receivers, and to the database.
    ("rustls-native-certs", &["sealpost-egress", "sealpost-store"]),
];

fn sources(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|e| e == "rs") {
        found.push(path.to_owned());
    }
}

#[test]
fn rooms_use_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for (room, rooms) in FORBIDDEN {
        let mut files = Vec::new();
        sources(&src.join(room), &mut files);
        assert!(!files.is_empty(), "the room {room} has moved");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for other in rooms {
                if text.contains(&format!("crate::{other}")) {
                    wrong.push(format!("{} uses crate::{other}", file.strip_prefix(&src).unwrap().display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What decides may ask for records and documents and exchange a code of a sign-in, but has no way to send.
#[test]
fn the_app_cannot_deliver() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = || text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for door in ["Outbound", "Egress", "ApiClient", "Scripted"] {
            let words = |line: &str| line.split(|c: char| !c.is_alphanumeric()).any(|word| word == door);
            let named = code().any(words);
            assert!(!named, "{} names {door}", file.display());
        }
    }
}

/// The door by which a secret leaves is opened in one room.
#[test]
fn codes_are_exchanged_where_people_sign_in() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let names = |file: &PathBuf| fs::read_to_string(file).unwrap().contains("CodeExchange");
    let (there, elsewhere): (Vec<_>, Vec<_>) =
        files.into_iter().filter(names).partition(|file| file.starts_with(src.join("app/openid")));
    assert!(!there.is_empty(), "the room has moved");
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn each_driver_has_one_door() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for entry in fs::read_dir(crates).unwrap() {
        let folder = entry.unwrap().path();
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for (driver, doors) in ONE_DOOR {
            let linked = manifest.lines().any(|line| line.starts_with(driver));
            assert!(!linked || doors.contains(&name.as_str()), "{name} links {driver}; only {doors:?} may");
        }
    }
}

#[test]
fn the_pure_crates_stay_pure() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for name in ["sealpost-core", "sealpost-signature"] {
        let manifest = fs::read_to_string(crates.join(name).join("Cargo.toml")).unwrap();
        let linked = manifest.split("[dev-dependencies]").next().unwrap();
        for foreign in ["tokio", "hyper", "rusqlite", "rustls", "getrandom", "async-trait"] {
            assert!(!linked.lines().any(|line| line.starts_with(foreign)), "{name} links {foreign}");
        }
    }
}
