//! The blocks of a blob: their ids, and the XML that says in which order they make it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::domain::hex::hex;
use crate::domain::service_error::ServiceError;

/// As Azure Storage has it.
const MOST: usize = 50_000;

/// The file of a block; its id is base64 of 1 to 64 bytes.
pub fn block_file(id: &str) -> Result<String, ServiceError> {
    let bytes = STANDARD.decode(id).ok().filter(|bytes| (1..=64).contains(&bytes.len()));
    let why = || ServiceError::new(400, "InvalidBlockId", "blockid is not base64 of 1 to 64 bytes");
    let bytes = bytes.ok_or_else(why)?;
    Ok(hex(&bytes))
}

/// Files of the blocks in order, of `<BlockList><Latest>id</Latest>…</BlockList>`.
pub fn block_list(xml: &str) -> Result<Vec<String>, ServiceError> {
    let why = |what: &str| ServiceError::new(400, "InvalidXmlDocument", what);
    let (_, list) = xml.split_once("<BlockList>").ok_or_else(|| why("there is no <BlockList>"))?;
    let (list, _) = list.split_once("</BlockList>").ok_or_else(|| why("<BlockList> has no end"))?;
    let (mut files, mut rest) = (Vec::new(), list.trim());
    while !rest.is_empty() {
        let kind = ["Latest", "Uncommitted", "Committed"].into_iter().find_map(|kind| {
            Some((kind, rest.strip_prefix('<')?.strip_prefix(kind)?.strip_prefix('>')?))
        });
        let (kind, inner) = kind.ok_or_else(|| why("<Latest>id</Latest> is expected"))?;
        let end = inner.split_once(&format!("</{kind}>"));
        let (id, after) = end.ok_or_else(|| why("a block id has no end"))?;
        files.push(block_file(id.trim())?);
        rest = after.trim();
        if files.len() > MOST {
            return Err(why("a blob has 50000 blocks at most"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_list_names_files_in_order() {
        let xml = "<?xml version='1.0' encoding='utf-8'?>\n<BlockList><Latest>QUI=</Latest>\n\
                   <Uncommitted>Lw==</Uncommitted><Latest>QUI=</Latest></BlockList>";
        assert_eq!(block_list(xml).unwrap(), ["4142", "2f", "4142"]);
        assert_eq!(block_list("<BlockList></BlockList>").unwrap(), Vec::<String>::new());
        for bad in [
            "",
            "<BlockList>",
            "<BlockList><Newest>QQ==</Newest></BlockList>",
            "<BlockList><Latest>QQ==</BlockList>",
            "<BlockList><Latest>../x</Latest></BlockList>",
            "<BlockList><Latest></Latest></BlockList>",
        ] {
            assert_eq!(block_list(bad).unwrap_err().status, 400, "{bad}");
        }
    }
}
