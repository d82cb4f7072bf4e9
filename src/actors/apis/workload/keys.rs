//! Keys that modules encrypt with: one for each, made at its first call, kept in `state` under the
//! vault's own. A module never sees it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::actors::agent::TABLE;
use crate::actors::port::Port;
use crate::messages::state::{Change, Fetch, Save};
use crate::store::vault::{Vault, VaultError};

const SOON: Duration = Duration::from_secs(8);
/// Keys of them: this and the module.
const PREFIX: &str = "workload-key/";

/// See the module documentation.
pub struct Keys {
    vault: Rc<Vault>,
    fetch: Port<Fetch>,
    save: Port<Save>,
    /// Those used so far. Held while one is made: there is one for each module.
    known: Mutex<BTreeMap<String, Rc<Vault>>>,
}

/// Why there is no key, or no text.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// To be tried again.
    #[error("the key of module {0} cannot be had now: {1}")]
    Away(String, String),
    /// It is there and cannot be used: it is not replaced, since texts may depend on it.
    #[error("the key of module {0} cannot be opened: {1}")]
    Damaged(String, VaultError),
    /// No key was ever made.
    #[error("module {0} has encrypted nothing here")]
    None(String),
    /// Encrypted for another module, generation or vector; or damaged.
    #[error(
        "the text cannot be decrypted: it is not of this module, generation and initialization vector"
    )]
    NotOurs,
}

/// What a text is bound to.
pub(super) struct Bound<'a> {
    pub(super) module: &'a str,
    pub(super) generation: &'a str,
    pub(super) vector: &'a [u8],
}

impl Bound<'_> {
    fn name(&self) -> Vec<u8> {
        [self.module.as_bytes(), b"\0", self.generation.as_bytes(), b"\0", self.vector].concat()
    }
}

impl Keys {
    /// Kept by these.
    pub fn new(vault: Rc<Vault>, fetch: Port<Fetch>, save: Port<Save>) -> Self {
        Keys { vault, fetch, save, known: Mutex::default() }
    }

    pub(super) async fn encrypt(&self, of: &Bound<'_>, text: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = self.key(of.module, true).await?;
        key.seal(&of.name(), text).map_err(|why| KeyError::Damaged(of.module.to_owned(), why))
    }

    pub(super) async fn decrypt(&self, of: &Bound<'_>, sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = self.key(of.module, false).await?;
        key.open_value(&of.name(), sealed).map_err(|_| KeyError::NotOurs)
    }

    async fn key(&self, module: &str, may_make: bool) -> Result<Rc<Vault>, KeyError> {
        let mut known = self.known.lock().await;
        if let Some(key) = known.get(module) {
            return Ok(Rc::clone(key));
        }
        let away = |why: String| KeyError::Away(module.to_owned(), why);
        let name = format!("{PREFIX}{module}").into_bytes();
        let sealed = self.fetch.ask(Fetch(TABLE, name.clone()), SOON).await;
        let sealed = sealed.map_err(|e| away(e.to_string()))?.map_err(|e| away(e.to_string()))?;
        let damaged = |why| KeyError::Damaged(module.to_owned(), why);
        let key = match sealed {
            Some(sealed) => self.vault.open_value(&name, &sealed).map_err(damaged)?,
            None if !may_make => return Err(KeyError::None(module.to_owned())),
            None => {
                let key = self.vault.new_key().map_err(damaged)?;
                let sealed = self.vault.seal(&name, &key).map_err(damaged)?;
                let save = self.save.ask(Save(vec![Change::put(TABLE, name, sealed)]), SOON).await;
                save.map_err(|e| away(e.to_string()))?.map_err(|e| away(e.to_string()))?;
                key.to_vec()
            }
        };
        let key = Rc::new(Vault::of_key(&key).map_err(damaged)?);
        known.insert(module.to_owned(), Rc::clone(&key));
        Ok(key)
    }
}
