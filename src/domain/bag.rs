//! The property bag of a message.
/// All properties of a message in wire order: canonical percent-encoded text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bag(std::sync::Arc<str>);
