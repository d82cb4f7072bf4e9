//! Certificates of authorities, with the link down too; and that no key lies open on the disk of
//! the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::house::{At, FIVE, FOR_GOOD, House, KEY, LATER, OTHER_KEY};
use crate::house::{by_authority, make, prints, sas, self_signed};
use crate::support::wait_for;

#[test]
fn a_device_of_an_authority_comes_in_at_both_doors_and_offline() {
    let mut house = House::start();
    house.put("signed", &by_authority());
    house.put("by-key", &sas(KEY, KEY));
    let signed = make("signed", false, Some(&house.between));
    let direct = make("signed", false, Some(&house.root));
    let forged = make("signed", false, Some(&make("authority of devices", true, None)));
    let own = make("signed", false, None);
    let other = make("other", false, Some(&house.between));
    let by_key = make("by-key", false, Some(&house.between));
    let module = make("signed/m", false, Some(&house.between));
    let itself = make("signed", true, Some(&house.between));
    for at in [At::Hub, At::Gateway] {
        let show = |id: &str, shown: &[_]| house.show(at, id, shown).map(drop);
        assert_eq!(show("signed", &[&signed, &house.between]), Ok(()), "{at:?}");
        assert_eq!(show("signed", &[&direct]), Ok(()), "{at:?}");
        for (id, shown) in [
            ("signed", &[&signed][..]), // what is between is not sent
            ("signed", &[&forged]),
            ("signed", &[&own]),
            ("signed", &[&other, &house.between]),
            ("signed", &[&itself, &house.between]),
            ("signed", &[]),
            ("by-key", &[&by_key, &house.between]),
            ("other", &[&other, &house.between]),
            ("SIGNED", &[&signed, &house.between]),
            ("signed/m", &[&module, &house.between]),
        ] {
            assert_eq!(show(id, shown), Err(FOR_GOOD.into()), "{at:?}, {id}");
        }
    }
    let log = house.edge.log_since_start();
    for why in ["no trusted authority", "common name", "an authority itself", "neither a token"] {
        assert!(log.contains(why), "`{why}` is not in the log of the gateway");
    }
    house.put("by-print", &self_signed(&prints(&own)[0].to_uppercase(), ""));
    wait_for("by-print", FIVE, || house.show(At::Gateway, "by-print", &[&own]).ok());
    house.hub.program.kill();
    for is_restarted in [false, true] {
        if is_restarted {
            house.edge.kill();
            house.edge.again();
            house.edge.wait_ready();
        }
        let show = |id: &str, shown: &[_]| house.show(At::Gateway, id, shown).map(drop);
        assert_eq!(show("signed", &[&signed, &house.between]), Ok(()), "{is_restarted}");
        assert_eq!(show("by-print", &[&own]), Ok(()), "{is_restarted}");
        assert_eq!(show("signed", &[&forged]), Err(LATER.into()), "{is_restarted}");
        assert_eq!(show("by-key", &[&by_key, &house.between]), Err(LATER.into()));
    }
}

/// All that is in the files of a folder.
fn bytes_below(folder: &Path, all: &mut Vec<u8>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            bytes_below(&path, all);
        } else if kind.is_file() {
            all.extend(fs::read(&path).unwrap());
        }
    }
}

#[test]
fn no_key_of_a_client_lies_open_in_the_state_directory_of_the_gateway() {
    let mut house = House::start();
    let clients = [("one", KEY), ("two", OTHER_KEY)];
    for (id, key) in clients {
        house.put(id, &sas(key, key));
        let log_in = || house.token(At::Gateway, id, &format!("devices/{id}"), key).ok();
        wait_for(id, FIVE, log_in);
    }
    house.hub.program.kill();
    house.edge.kill();
    house.edge.again();
    house.edge.wait_ready();
    let known = house.token(At::Gateway, "one", "devices/one", KEY);
    assert!(known.is_ok(), "so its key was on the disk");
    let state = house.folder.path().join("edge");
    let (mut gateway, mut hub) = (Vec::new(), Vec::new());
    bytes_below(&state, &mut gateway);
    bytes_below(&house.hub.state, &mut hub);
    let has = |all: &[u8], what: &[u8]| all.windows(what.len()).any(|part| part == what);
    for (id, key) in clients {
        assert!(has(&hub, key.as_bytes()), "the hub's own directory shows what is looked for");
        assert!(!has(&gateway, key.as_bytes()), "the key of {id}, as text");
        assert!(!has(&gateway, &STANDARD.decode(key).unwrap()), "the key of {id}");
    }
    let mode = fs::metadata(state.join("vault.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
