//! A network between a guest and its host that can go silent: nothing comes through, and nobody is told.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, ensure};
use pinion_tests::host::Host;

/// Every connection goes through it.
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_silent: Mutex<bool>,
    changed: Condvar,
}

impl Wire {
    /// Agents of this host dial it from now on; to be called before the controller starts.
    pub(crate) fn before(host: &Host) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen on loopback")?;
        let wire = Self { address: listener.local_addr().context("read the port")?, state: Arc::default() };
        let path = host.root().join("etc/pinion/controller.toml");
        let text = fs::read_to_string(&path).context("read the configuration")?;
        let line = |address| format!("advertise = [\"{address}\"]");
        let changed = text.replace(&line(host.address()), &line(wire.address));
        ensure!(changed != text, "the configuration says nothing of {}", host.address());
        fs::write(&path, changed).context("write the configuration")?;
        let (target, state) = (host.address(), Arc::clone(&wire.state));
        thread::spawn(move || {
            for near in listener.incoming().filter_map(Result::ok) {
                let Ok(far) = TcpStream::connect(target) else { continue };
                let (Ok(back), Ok(forth)) = (far.try_clone(), near.try_clone()) else { continue };
                for (from, to) in [(near, far), (back, forth)] {
                    let state = Arc::clone(&state);
                    thread::spawn(move || state.pass(from, to));
                }
            }
        });
        Ok(wire)
    }

    /// Whether nothing comes through from now on.
    pub(crate) fn silence(&self, is_silent: bool) {
        *self.state.is_silent.lock().unwrap_or_else(PoisonError::into_inner) = is_silent;
        self.state.changed.notify_all();
    }
}

impl State {
    /// Passes bytes on until one end is closed; an end's closing is no more than bytes to a silent network.
    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 4096];
        loop {
            let read = from.read(&mut bytes).unwrap_or(0);
            let guard = self.is_silent.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.changed.wait_while(guard, |is_silent| *is_silent).unwrap_or_else(PoisonError::into_inner));
            if read == 0 || to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        // The other direction ends too.
        for stream in [from, to] {
            stream.shutdown(std::net::Shutdown::Both).ok();
        }
    }
}
