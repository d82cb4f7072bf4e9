//! The few MQTT 3.1.1 packets that load needs, written and read by hand: a general codec would cost
//! more than some of the brokers that are measured.

pub(crate) const CONNACK: u8 = 2;
pub(crate) const PUBLISH: u8 = 3;
pub(crate) const PUBACK: u8 = 4;
pub(crate) const SUBACK: u8 = 9;

/// Bytes of a body that are ours: run, sender, number, time.
pub(crate) const STAMP: usize = 24;

/// One packet at the start of what came.
pub(crate) struct Packet<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// Behind the fixed header.
    pub(crate) rest: &'a [u8],
    /// With the fixed header.
    pub(crate) length: usize,
}

/// The first packet, once it is whole; an error if it is no packet.
pub(crate) fn first(bytes: &[u8]) -> Result<Option<Packet<'_>>, &'static str> {
    let mut remaining = 0;
    for at in 1..5 {
        let Some(byte) = bytes.get(at) else { return Ok(None) };
        remaining |= usize::from(byte & 127) << (7 * (at - 1));
        if byte & 128 == 0 {
            let length = at + 1 + remaining;
            let Some(rest) = bytes.get(at + 1..length) else { return Ok(None) };
            return Ok(Some(Packet { kind: bytes[0] >> 4, flags: bytes[0] & 15, rest, length }));
        }
    }
    Err("the length of a packet has more than four bytes")
}

/// Packet id and body of a PUBLISH with `QoS` 1; no id with `QoS` 0.
pub(crate) fn publish<'a>(packet: &Packet<'a>) -> Option<(Option<[u8; 2]>, &'a [u8])> {
    let topic = usize::from(u16::from_be_bytes([*packet.rest.first()?, *packet.rest.get(1)?]));
    let behind = packet.rest.get(2 + topic..)?;
    match packet.flags >> 1 & 3 {
        0 => Some((None, behind)),
        _ => Some((Some([*behind.first()?, *behind.get(1)?]), &behind[2..])),
    }
}

fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut remaining = rest.len();
    loop {
        let more = remaining > 127;
        bytes.push((remaining & 127) as u8 | if more { 128 } else { 0 });
        remaining >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend_from_slice(&(text.len() as u16).to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

/// Who connects: client id; user name and password if there are such.
pub(crate) fn connect(
    id: &str,
    log_in: Option<(&str, &str)>,
    is_clean: bool,
    alive: u16,
) -> Vec<u8> {
    let mut rest = Vec::new();
    text(&mut rest, "MQTT");
    rest.push(4);
    rest.push(if log_in.is_some() { 0xc0 } else { 0 } | if is_clean { 2 } else { 0 });
    rest.extend_from_slice(&alive.to_be_bytes());
    text(&mut rest, id);
    if let Some((user, password)) = log_in {
        text(&mut rest, user);
        text(&mut rest, password);
    }
    packet(0x10, &rest)
}

/// SUBSCRIBE with `QoS` 1.
pub(crate) fn subscribe(filter: &str) -> Vec<u8> {
    let mut rest = vec![0xff, 0xff];
    text(&mut rest, filter);
    rest.push(1);
    packet(0x82, &rest)
}

/// A PUBLISH with `QoS` 1 to be used again and again: the packet, where its id is, where its body is.
pub(crate) fn publish_template(topic: &str, size: usize) -> (Vec<u8>, usize, usize) {
    let mut rest = Vec::new();
    text(&mut rest, topic);
    rest.extend_from_slice(&[0, 0]);
    // Not all the same, so that nothing on the way can compress it to nothing.
    rest.extend((0..size).map(|n| (n as u8).wrapping_mul(151) ^ (n >> 3) as u8));
    let bytes = packet(0x32, &rest);
    let body = bytes.len() - size;
    (bytes, body - 2, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_read_as_it_was_written() {
        let (mut bytes, id, body) = publish_template("a/b", 300);
        bytes[id..id + 2].copy_from_slice(&[1, 2]);
        bytes[body] = 77;
        for cut in 0..bytes.len() {
            assert!(first(&bytes[..cut]).unwrap().is_none(), "a packet of {cut} bytes");
        }
        let packet = first(&bytes).unwrap().unwrap();
        assert_eq!((packet.kind, packet.length), (PUBLISH, bytes.len()));
        let (id, body) = publish(&packet).unwrap();
        assert_eq!((id, body.len(), body[0]), (Some([1, 2]), 300, 77));
    }

    #[test]
    fn a_length_without_an_end_is_an_error() {
        assert!(first(&[0x32, 255, 255, 255, 255, 255]).is_err());
    }

    #[test]
    fn a_connect_says_who_it_is() {
        let bytes = connect("id", Some(("u", "p")), true, 600);
        let want = b"\x10\x14\0\x04MQTT\x04\xc2\x02\x58\0\x02id\0\x01u\0\x01p";
        assert_eq!(bytes, want);
    }
}
