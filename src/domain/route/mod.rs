//! Routes.
/// The routes in force; immutable, swapped whole.
#[derive(Debug, Default)]
pub struct RouteTable;
