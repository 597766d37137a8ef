//! `cargo xtask lab`: a hypervisor in a box for whoever wants to look at it. `up`, `run`, `shell`, `down`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::{
    env, fs,
    fs::File,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use pinion_tests::{
    interrupt,
    lab::{
        GATEWAY_NAME, Lab, Spec, Tree, namespace, place, remains,
        whole::{self, Whole},
    },
    wait,
};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["trees"] => trees(),
        ["up"] => up(&["keep"]),
        ["up", "--vm"] => up(&["keep", "--vm"]),
        ["up", "--all"] => up(&["keep", "--all"]),
        ["keep" | "run"] => run(Spec::all(), |_| Ok(())),
        ["keep" | "run", "--vm"] => run(Spec::all_with_machine(), |_| Ok(())),
        ["keep" | "run", "--all"] => run(Spec::whole(), begin_whole),
        ["shell", guest] => shell(guest),
        ["down"] => down(),
        ["guard", live] => namespace::guard(Path::new(live)),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "say `up` to start it in the background, `run` to have it until Ctrl-C (both with `--vm` for 1001 in a \
                     real machine, or `--all` for every recipe at work), `shell GUEST` for a shell in 101, 103, 1001, 1002 or on its \
                     `host`, `down` to end it";

/// Builds what the guests lie on, where it is missing.
fn trees() -> Result<()> {
    thread::scope(|scope| {
        let builders: Vec<_> = Tree::ALL.iter().map(|tree| scope.spawn(|| tree.ensure())).collect();
        builders.into_iter().try_for_each(|builder| {
            let tree = builder.join().unwrap_or_else(|_| bail!("a tree's thread failed"))?;
            println!("lab: {}", tree.display());
            Ok(())
        })
    })
}

/// Starts one in a session of its own, which is there until [`down`].
fn up(keep: &[&str]) -> Result<()> {
    if namespace::init(&place::kept()).is_ok() {
        bail!("there is one already; `cargo xtask lab down` ends it");
    }
    let log = place::kept().with_extension("keep.log");
    if let Some(directory) = log.parent() {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    let file = File::create(&log).with_context(|| format!("write {}", log.display()))?;
    println!("lab: starting; the first time builds the guests' trees, which takes minutes");
    let mut keeper = Command::new("setsid")
        .arg(env::current_exe().context("find this program")?)
        .args(keep)
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("share the log")?)
        .stderr(file)
        .spawn()
        .context("start the lab in the background")?;
    let told = wait::until("the lab to be up", MAX, || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        match keeper.try_wait() {
            Ok(Some(status)) => Ok(Err(format!("{status}: {text}"))),
            _ if text.contains(READY) => Ok(Ok(text)),
            _ => Err("still starting"),
        }
    })?;
    match told {
        Ok(text) => {
            print!("{text}");
            println!("lab: `cargo xtask lab shell 101` looks around, `cargo xtask lab down` ends it");
            Ok(())
        }
        Err(reason) => bail!("it did not start, {reason}"),
    }
}

/// Up until Ctrl-C or SIGTERM; `begin` starts what is at work in it.
fn run<T>(specs: Vec<Spec>, begin: impl FnOnce(&Lab) -> Result<T>) -> Result<()> {
    interrupt::watch().context("watch for Ctrl-C")?;
    let guests: Vec<String> = specs.iter().map(described).collect();
    let lab = Lab::kept(specs)?;
    fs::write(place::kept().join("keeper"), std::process::id().to_string()).context("write down who keeps the lab")?;
    let at_work = begin(&lab)?;
    guests.iter().for_each(|guest| println!("{guest}"));
    println!("lab: the host is 10.0.0.13, with pct, qm and pvesh; the gateway serves {GATEWAY_NAME}");
    println!("{READY}{:.1} s", lab.took().as_secs_f64());
    while !interrupt::requested() {
        thread::sleep(Duration::from_millis(100));
    }
    println!("lab: going down");
    drop(at_work);
    drop(lab);
    Ok(())
}

/// Every recipe's service, and Pinion, which has begun to bring agents into the guests.
fn begin_whole(lab: &Lab) -> Result<Whole> {
    whole::set_up(lab)?;
    let whole = Whole::start(lab)?;
    println!("lab: Pinion is at work; `shell host`, then `pinion status`, `pinion ensure --renew --until served`");
    Ok(whole)
}

fn described(spec: &Spec) -> String {
    let address = spec.nets.first().map_or("", |net| net.address.as_str());
    format!("lab: {:>5}  {:<14} {address:<16} {:?}", spec.vmid, spec.name, spec.role)
}

/// What the last line of a lab's start begins with.
const READY: &str = "lab: up after ";

/// Trees are built first, when they are not there.
const MAX: Duration = Duration::from_secs(1200);

/// Becomes a shell in a guest, or on the lab's host.
fn shell(guest: &str) -> Result<()> {
    let init = namespace::init(&place::kept());
    let init = init.map_err(|reason| anyhow::anyhow!("there is no lab ({reason}): `cargo xtask lab up` starts one"))?;
    let mut command = match guest {
        "host" => namespace::command(init, "bash"),
        guest if namespace::path(init, &format!("/run/qemu-server/{guest}.pid")).exists() => {
            bail!("{guest} is a real VM: `shell host`, then `qm guest exec {guest} -- COMMAND`");
        }
        guest => {
            let mut command = namespace::command(init, "lxc-attach");
            command.args(["-n", guest, "--clear-env", "--keep-var", "TERM", "--", "bash", "-l"]);
            command
        }
    };
    Err(command.exec()).with_context(|| format!("start a shell in {guest}"))
}

/// Ends the one in the background, and whatever others have left that nobody has any more.
fn down() -> Result<()> {
    let live = place::kept();
    if let Some(keeper) = keeper(&live) {
        // Its own end clears up.
        Command::new("kill").arg(keeper).status().context("ask the lab's keeper to end")?;
        let gone = || if live.exists() { Err("still there") } else { Ok(()) };
        if wait::until("the lab to end", Duration::from_secs(60), gone).is_ok() {
            return Ok(());
        }
    }
    remains::clear(&live)?;
    place::clear_abandoned()
}

/// The process that keeps this lab, unless it has ended and the number is another's now.
fn keeper(live: &Path) -> Option<String> {
    let pid = fs::read_to_string(live.join("keeper")).ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim() == "lab").then_some(pid)
}
