//! How a placement's turn to be disrupted changes; the world remembers it.

/// What a turn has to do with a placement, as this plan has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turn {
    /// Nothing.
    #[default]
    None,
    /// Its turn begins.
    Begins,
    /// Its turn is over: its service shows what it should.
    Ends,
}
