//! Which start of a guest it is that runs, as an agent in it says too (`boot_id` of its facts).
//!
//! Answers: is it this guest that an agent calls from? Two guests that differ in nothing else, not by their
//! network cards and not by their identities, are distinguished by this: the way into a guest leads into that guest.
//! Invariant: nothing is changed by looking.

use super::{
    protocol::{Cause, Failure},
    reach::{Reach, SHORT, line, must},
};

/// The kernel's boot id, and when process 1 began: all containers of a host have the kernel's in common.
pub(super) async fn boot(reach: &impl Reach) -> Result<String, Failure> {
    let cat = ["cat", "/proc/sys/kernel/random/boot_id", "/proc/1/stat"];
    let output = must(reach, "ask for the boot id", &cat, b"", SHORT).await?;
    boot_id(&output.stdout).ok_or_else(|| {
        let text = format!("{} names no boot id: {}", reach.guest(), line(&output.stdout));
        Failure::new(Cause::Unexpected, text)
    })
}

/// As the agent makes it of the same two files.
fn boot_id(said: &str) -> Option<String> {
    let (kernel, stat) = said.split_once('\n')?;
    // The program's name, in parentheses, may have spaces; the start time is field 22 (proc_pid_stat(5)).
    let started: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let kernel = kernel.trim();
    let legal = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    (kernel.len() == 36 && kernel.bytes().all(legal)).then(|| format!("{kernel}/{started}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_two_files_say_is_one_word() {
        let kernel = "7f2c1d3e-0b5f-4a6b-9c8d-0123456789ab";
        let stat = "1 (my (odd) init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 7100 1 2\n";
        assert_eq!(boot_id(&format!("{kernel}\n{stat}")), Some(format!("{kernel}/7100")));
        for said in [String::new(), kernel.to_owned(), format!("{kernel}\n1 (init) S 0"), format!("who\n{stat}")] {
            assert_eq!(boot_id(&said), None, "{said}");
        }
    }
}
