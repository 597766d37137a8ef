//! What an operator relies on: what runs is told to run, and nothing else is.

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::{
            net::{SocketAddr, UnixListener, UnixStream},
            process::CommandExt,
        },
    },
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::*;

fn number(number: u32) -> Vmid {
    Vmid::try_from(number).expect("a VMID")
}

const HEADER: &str = "Num       RefCount Protocol Flags    Type St Inode Path\n";

#[test]
fn a_container_runs_while_it_is_listened_for() {
    let sockets = format!(
        "{HEADER}\
         0000000000000000: 00000002 00000000 00010000 0001 01 4711 @/var/lib/lxc/101/command\n\
         0000000000000000: 00000003 00000000 00000000 0001 03 4712 @/var/lib/lxc/102/command\n\
         0000000000000000: 00000002 00000000 00010000 0001 01 4713 @/var/lib/lxc/103/command/more\n\
         0000000000000000: 00000002 00000000 00010000 0001 01 4714 /var/lib/lxc/104/command\n\
         0000000000000000: 00000002 00000000 00010000 0001 01 4715 @/var/lib/lxc/../command\n\
         0000000000000000: 00000002 00000000 00010000 0001 01 4716 @/srv/lxc/105/command\n\
         0000000000000000: 00000002 00000000 00010000 0001 01 4717 @/var/lib/lxc/99/command\n\
         0000000000000000: 00000002 00000000 00010000 0001 01 4718\n\
         what is this"
    );
    let found = containers(sockets.as_bytes(), Path::new("/var/lib/lxc")).expect("read");
    assert_eq!(found, [(number(101), true)].into(), "a connection is not what listens, nor is another path");
}

#[test]
fn the_kernel_shows_what_listens_here() {
    let root = tempfile::tempdir().expect("a directory");
    let running = Running::below(root.path());
    assert_eq!(running.look().expect("looked at"), RunningGuests::default());
    let address = SocketAddr::from_abstract_name(format!("{}/var/lib/lxc/101/command", root.path().display()));
    let address = address.expect("an address");
    let listener = UnixListener::bind_addr(&address).expect("bound");
    let connected = UnixStream::connect_addr(&address).expect("connected");
    let accepted = listener.accept().expect("accepted");
    let found = running.look().expect("looked at");
    assert!(found.has(number(101), GuestKind::Lxc) && !found.has(number(101), GuestKind::Qemu));
    drop(listener);
    assert_eq!(running.look().expect("looked at"), RunningGuests::default(), "those who still talk are no guest");
    drop((connected, accepted));
}

/// A process that ends with this value.
struct Sleeper(Child);

impl Sleeper {
    /// One that looks like `name` with these arguments to the kernel.
    fn new(name: &str, arguments: &[&str]) -> Self {
        // It waits for its input to end, whatever its arguments are.
        let mut command = Command::new("/bin/sh");
        command.arg0(name).args(["-c", "read -r _"]).args(arguments);
        let child = command.stdin(Stdio::piped()).spawn().expect("started");
        // It has been started before the kernel knows its command line (execve(2) sets that last).
        let command_line = format!("/proc/{}/cmdline", child.id());
        let by = Instant::now() + Duration::from_secs(10);
        while fs::read(&command_line).expect("its command line").is_empty() {
            assert!(Instant::now() < by, "{command_line} stays empty");
            thread::yield_now();
        }
        Self(child)
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_machine_runs_while_its_process_lives() {
    let root = tempfile::tempdir().expect("a directory");
    let machines = root.path().join("run/qemu-server");
    fs::create_dir_all(&machines).expect("made");
    let write = |vmid: &str, text: &str| fs::write(machines.join(format!("{vmid}.pid")), text).expect("written");
    let running = Running::below(root.path());
    let runs = |vmid| running.look().expect("looked at").has(number(vmid), GuestKind::Qemu);

    let machine = Sleeper::new("/usr/bin/kvm", &["-id", "1001", "-name", "docker"]);
    let pid = machine.0.id().to_string();
    write("1001", &format!("{pid}\n"));
    write("1002", &pid);
    assert!(runs(1001), "it is this machine's");
    assert!(!runs(1002), "it is another machine's");
    for (vmid, nonsense) in [("1003", ""), ("1004", "-1"), ("1005", "0"), ("1006", "not a number"), ("x", "1")] {
        write(vmid, nonsense);
    }
    assert!([1003, 1004, 1005, 1006].into_iter().all(|vmid| !runs(vmid)));
    drop(machine);
    assert!(!runs(1001), "it has ended, and left its file");
}

#[test]
fn a_number_that_was_given_to_another_process_says_nothing() {
    let root = tempfile::tempdir().expect("a directory");
    let machines = root.path().join("run/qemu-server");
    fs::create_dir_all(&machines).expect("made");
    let file = machines.join("1001.pid");
    let process = Sleeper::new("another", &[]);
    fs::write(&file, process.0.id().to_string()).expect("written");
    let running = Running::below(root.path());
    let runs = || running.look().expect("looked at").has(number(1001), GuestKind::Qemu);
    assert!(runs(), "it began before its file was written");
    // The file of a machine that was killed an hour ago.
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    File::options().write(true).open(&file).and_then(|file| file.set_modified(long_ago)).expect("set back");
    assert!(!runs(), "a process that began later is another one");
}

#[test]
fn an_ended_process_is_none_although_it_was_not_waited_for() {
    assert_eq!(started(b"7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 7100 1 2"), Some(7100));
    assert_eq!(started(b"7 (kvm) Z 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 7100 1 2"), None);
    assert_eq!(started(b"7 (kvm) S 1"), None);
}
