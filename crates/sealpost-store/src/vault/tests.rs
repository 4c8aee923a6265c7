use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use sealpost_core::id::{DeliveryId, EventId};
use sealpost_core::payload::Payload;
use sealpost_core::time::Timestamp;

use super::*;

fn tenant(n: u8) -> TenantId {
    TenantId::from_bytes([n; 16])
}

fn event(n: u8) -> EventId {
    EventId::from_bytes([n; 16])
}

fn delivery(n: u8) -> DeliveryId {
    DeliveryId::from_bytes([n; 16])
}

fn key(n: u8) -> TenantKey {
    TenantKey::new(tenant(n), Zeroizing::new([n; 32]))
}

fn payload(text: &str) -> Payload {
    Payload::parse(text).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn what_was_sealed_opens_where_it_was_sealed() {
    let (key, salt) = (key(1), new_salt());
    let sealed = key.seal_payload(event(1), &salt, &payload(r#"{"a":1}"#));
    assert_eq!(key.open_payload(event(1), &salt, &sealed).unwrap().as_str(), r#"{"a":1}"#);
    assert!(!hex(&sealed).contains(&hex(b"\"a\":1")));
    assert_eq!(sealed.len(), 1 + 7 + 16);

    let excerpt_salt = new_salt();
    let sealed = key.seal_excerpt(event(1), &salt, &excerpt_salt, delivery(1), 2, b"no");
    assert_eq!(key.open_excerpt(event(1), &salt, &excerpt_salt, delivery(1), 2, &sealed).unwrap(), b"no");

    let sealed = key.seal_cell("webhook", b"row", "sealed", b"secret");
    assert_eq!(key.open_cell("webhook", b"row", "sealed", &sealed).unwrap().as_slice(), b"secret");
}

#[test]
fn a_payload_moved_to_another_event_or_tenant_does_not_open() {
    let (one, salt) = (key(1), new_salt());
    let sealed = one.seal_payload(event(1), &salt, &payload("{}"));
    assert!(one.open_payload(event(2), &salt, &sealed).is_err());
    assert!(key(2).open_payload(event(1), &salt, &sealed).is_err());
    // The same key bytes under another tenant's name.
    let renamed = TenantKey::new(tenant(2), Zeroizing::new([1; 32]));
    assert!(renamed.open_payload(event(1), &salt, &sealed).is_err());
    assert!(one.open_payload(event(1), &new_salt(), &sealed).is_err());
}

#[test]
fn a_cell_moved_to_another_table_row_or_column_does_not_open() {
    let key = key(1);
    let sealed = key.seal_cell("webhook", b"1", "sealed", b"secret");
    for (table, row, column) in [
        ("signing_key", "1", "sealed"),
        ("webhook", "2", "sealed"),
        ("webhook", "1", "other"),
        ("webhook1", "", "sealed"),
    ] {
        assert!(key.open_cell(table, row.as_bytes(), column, &sealed).is_err(), "{table} {row} {column}");
    }
}

#[test]
fn an_excerpt_needs_both_salts_and_its_own_place() {
    let (key, salt, own) = (key(1), new_salt(), new_salt());
    let sealed = key.seal_excerpt(event(1), &salt, &own, delivery(1), 1, b"no");
    let opens = |event, salt: &[u8], own: &[u8], delivery, attempt| {
        key.open_excerpt(event, salt, own, delivery, attempt, &sealed).is_ok()
    };
    assert!(opens(event(1), &salt, &own, delivery(1), 1));
    assert!(!opens(event(1), &new_salt(), &own, delivery(1), 1));
    assert!(!opens(event(1), &salt, &new_salt(), delivery(1), 1));
    assert!(!opens(event(1), &[], &own, delivery(1), 1));
    assert!(!opens(event(2), &salt, &own, delivery(1), 1));
    assert!(!opens(event(1), &salt, &own, delivery(2), 1));
    assert!(!opens(event(1), &salt, &own, delivery(1), 2));
}

#[test]
fn destroyed_salts_open_nothing() {
    let key = key(1);
    let zeroes: Salt = [0; 32];
    let sealed = key.seal_payload(event(1), &zeroes, &payload("{}"));
    assert!(key.open_payload(event(1), &zeroes, &sealed).is_err());
    assert!(key.open_payload(event(1), &[], &sealed).is_err());
}

#[test]
fn any_flipped_bit_and_any_cut_is_noticed() {
    let (key, salt) = (key(1), new_salt());
    let sealed = key.seal_payload(event(1), &salt, &payload(r#"{"a":1}"#));
    for bit in 0..sealed.len() * 8 {
        let mut bent = sealed.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(key.open_payload(event(1), &salt, &bent).is_err(), "bit {bit}");
    }
    for length in 0..sealed.len() {
        assert!(key.open_payload(event(1), &salt, &sealed[..length]).is_err(), "cut to {length}");
    }
    let cell = key.seal_cell("t", b"r", "c", b"secret");
    for length in 0..cell.len() {
        assert!(key.open_cell("t", b"r", "c", &cell[..length]).is_err(), "cut to {length}");
    }
}

#[test]
fn the_same_text_sealed_twice_differs() {
    let key = key(1);
    assert_ne!(key.seal_cell("t", b"r", "c", b"same"), key.seal_cell("t", b"r", "c", b"same"));
    let sealed = |salt| key.seal_payload(event(1), &salt, &payload("{}"));
    assert_ne!(sealed(new_salt()), sealed(new_salt()));
}

#[test]
fn a_tenant_key_unwraps_only_under_its_master_key_and_its_tenant() {
    let vault = Vault::new(MasterKey::from_bytes([1; 32]));
    let (made, wrapped) = vault.new_tenant_key(tenant(1));
    let unwrapped = vault.unwrap_tenant_key(tenant(1), &wrapped).unwrap();
    let sealed = made.seal_cell("t", b"r", "c", b"secret");
    assert_eq!(unwrapped.open_cell("t", b"r", "c", &sealed).unwrap().as_slice(), b"secret");

    let failed = StoreError::Unsealable { what: "tenant key" }.to_string();
    let other = Vault::new(MasterKey::from_bytes([2; 32]));
    assert_eq!(other.unwrap_tenant_key(tenant(1), &wrapped).unwrap_err().to_string(), failed);
    assert_eq!(vault.unwrap_tenant_key(tenant(2), &wrapped).unwrap_err().to_string(), failed);
    assert_eq!(vault.unwrap_tenant_key(tenant(1), &[]).unwrap_err().to_string(), failed);
}

/// Computed once; a change here means that no existing store opens any more.
#[test]
fn the_format_does_not_change() {
    let key = key(7);
    let salt: Salt = [9; 32];
    let hasher = key.hasher();
    let at = Timestamp::from_millis(1_661_822_798_325);
    let lines = [
        ("check", hex(&MasterKey::from_bytes([3; 32]).check_value())),
        ("payload", hex(&key.seal_payload(event(5), &salt, &payload(r#"{"a":1}"#)))),
        ("excerpt", hex(&key.seal_excerpt(event(5), &salt, &[8; 32], delivery(4), 2, b"no"))),
        (
            "cell",
            hex(&seal_with_salt(&[7; 32], &key.cell_place("webhook", b"row", "sealed"), b"secret", &salt)),
        ),
        ("content", hex(&hasher.content("a.b", "{}", Some(at)))),
        ("content, no time", hex(&hasher.content("a.b", "{}", None))),
        ("request", hex(&hasher.request_content(&[[1; 32], [2; 32]]))),
        ("repeat key", hex(&hasher.repeat_key("k"))),
        ("subject", hex(&hasher.subject("k"))),
        ("derived", hasher.derived_event(event(5)).to_string()),
    ];
    let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    expect![[r#"
        check: 6a05051018527ac92a20e656dfa69db54700f8c4efcff4bd72d6290f5d88b179
        payload: 015ba365128df80eb5e2901c850ff5163ad29c330b1a651e
        excerpt: 016385ca0997c2c379edc3a4e1bb8c81ded822
        cell: 01090909090909090909090909090909090909090909090909090909090909090989c9f2aaa3ce27b9ec1de714ea5a1c08a1d4c7af12fd
        content: 0cc455146a0abd5f9bd95977c0eeefc8e1ec743bc044f41414dfd0890ccd40b1
        content, no time: e1f44a75961911b9f728f3d55767fb01cec49dd6f61dca6588e5284ac98ad030
        request: d21b85fd630cd4d23dd33b8ceafea02b9851527fa4b8b8b6e5e722e7256d7343
        repeat key: f555f326f4e2ce9bc043d53f60a88d305a7d535a00d75cd061cd8083248dde47
        subject: 95fcc68b88e8422dc821e80795e0054a353b13fa77611196a29f4f5910614d8c
        derived: ed8e8e32-0975-859f-bfc9-fca637290d79
    "#]].assert_eq(&text);
}

#[test]
fn hashes_separate_what_looks_alike() {
    let hasher = key(1).hasher();
    let at = Some(Timestamp::from_millis(0));
    assert_ne!(hasher.content("ab", "{}", None), hasher.content("a", "b{}", None));
    assert_ne!(hasher.content("a", "{}", None), hasher.content("a", "{}", at));
    assert_ne!(hasher.subject("k"), hasher.repeat_key("k"));
    assert_ne!(hasher.subject("k"), key(2).hasher().subject("k"));
    assert_ne!(hasher.request_content(&[]), hasher.request_content(&[[0; 32]]));
    assert_eq!(hasher.derived_event(event(1)), hasher.derived_event(event(1)));
    assert_ne!(hasher.derived_event(event(1)), hasher.derived_event(event(2)));
    assert_eq!(hasher.derived_event(event(1)).uuid().get_version_num(), 8);
}

#[test]
fn nothing_prints_a_key() {
    let master = MasterKey::from_bytes([0xAB; 32]);
    let tenant_key = key(0xAB);
    let printed =
        format!("{master:?} {:?} {:?} {tenant_key:?}", Vault::new(master.clone()), tenant_key.hasher());
    assert_eq!(printed, "MasterKey Vault TenantHasher TenantKey(abababab-abab-abab-abab-abababababab)");
}

#[test]
fn a_master_key_file_is_made_once_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let made = MasterKey::make_file(&path).unwrap();
    assert_eq!(MasterKey::file_mode(&path).unwrap(), 0o600);
    assert_eq!(MasterKey::read_file(&path).unwrap().check_value(), made.check_value());
    assert!(MasterKey::make_file(&path).unwrap_err().to_string().contains("could not be made"));
    assert_ne!(MasterKey::from_bytes([0; 32]).check_value(), made.check_value());
}

#[test]
fn an_unusable_master_key_file_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let refusal = || match MasterKey::read_file(&path) {
        Err(StoreError::MasterKey(why)) => why.replace(&path.display().to_string(), "PATH"),
        other => panic!("{other:?}"),
    };
    let mut said = vec![refusal()];
    for (mode, text) in [
        (0o644, format!("sealpost-master-key-1 {}", "0".repeat(64))),
        (0o600, format!("sealpost-master-key-1 {}", "0".repeat(62))),
        (0o600, format!("sealpost-master-key-1 {}", "g".repeat(64))),
        (0o600, "0".repeat(64)),
        (0o600, String::new()),
    ] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        said.push(refusal());
    }
    expect![[r#"
        the master key file PATH is missing; without it the store cannot be opened
        the master key file PATH has mode 0644, so others may read it; use chmod 600
        the master key file PATH must hold `sealpost-master-key-1` and 64 hexadecimal digits
        the master key file PATH must hold `sealpost-master-key-1` and 64 hexadecimal digits
        the master key file PATH must hold `sealpost-master-key-1` and 64 hexadecimal digits
        the master key file PATH must hold `sealpost-master-key-1` and 64 hexadecimal digits"#]]
    .assert_eq(&said.join("\n"));
}
