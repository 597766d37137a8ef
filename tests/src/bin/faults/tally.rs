//! What was done, and what went wrong with it.

/// Counts over everything.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// SIGKILLs of a working agent.
    pub(crate) kills: usize,
    /// Disks that failed.
    pub(crate) faults: usize,
    /// Pairs that did not match, files that could not be read, handshakes that failed.
    pub(crate) torn: usize,
    /// Placements that did not come to be served by themselves, or troubles that nobody was told of.
    pub(crate) lost: usize,
}

impl Tally {
    /// Says at once what is lost.
    pub(crate) fn lose(&mut self, what: &str) {
        eprintln!("faults: LOST: {what}");
        self.lost += 1;
    }

    /// Says at once what is torn.
    pub(crate) fn tear(&mut self, times: usize, what: &str) {
        if times > 0 {
            eprintln!("faults: TORN: {times} times {what}");
            self.torn += times;
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.torn == 0 && self.lost == 0
    }

    /// One line each, for whoever sums up.
    pub(crate) fn print(&self) {
        let Self { kills, faults, torn, lost } = self;
        println!("\nkills: {kills}\nfaults: {faults}\ntorn: {torn}\nlost: {lost}");
    }
}
