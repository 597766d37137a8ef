//! What a rule finds.

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// A file or folder, or a file and a name in it. An exception names the same.
    pub(super) subject: String,
    /// How much of it there is, where that can be counted; otherwise 1.
    pub(super) amount: usize,
    /// What is wrong.
    pub(super) why: String,
}

impl Finding {
    pub(super) fn new(subject: impl Into<String>, amount: usize, why: impl Into<String>) -> Self {
        Self { subject: subject.into(), amount, why: why.into() }
    }
}
