//! Makes the identities of modules at the parent, over its REST.

use std::rc::Rc;

use futures_util::FutureExt;

use super::Registrar;
use crate::actors::clock;
use crate::protocol::parent_rest::ParentRest;

/// The registrar of this device.
pub fn registrar(rest: ParentRest) -> Registrar {
    Rc::new(move |identity| {
        let rest = rest.clone();
        async move {
            let now = clock::unix_time().as_secs();
            rest.make_module(&identity, now).await.map_err(|error| error.to_string())
        }
        .boxed_local()
    })
}
