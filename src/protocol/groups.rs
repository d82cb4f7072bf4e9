//! Groups of this machine, by name.

use std::fs;

/// The number of a group: of `/etc/group`, or the number itself.
pub fn group_id(name: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let all = fs::read_to_string("/etc/group").map_err(|e| format!("/etc/group: {e}"))?;
    find(&all, name).ok_or_else(|| format!("there is no group {name} in /etc/group"))
}

fn find(all: &str, name: &str) -> Option<u32> {
    let mut lines = all.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|parts| parts.first() == Some(&name))?;
    line.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_name_or_number() {
        assert_eq!(group_id("root"), Ok(0));
        assert_eq!(group_id("4711"), Ok(4711));
        assert!(group_id("no-such-group").unwrap_err().contains("no-such-group"));
        assert_eq!(find("a:x:1:\nab:x:2:u,v\n", "ab"), Some(2));
    }
}
