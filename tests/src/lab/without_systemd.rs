//! Guests in which no systemd starts services: OpenRC does, or one script.
//!
//! Invariant: what is written here is what their administrator would have written, for nginx and for a container; it
//! knows of Pinion only what `docs/agent.md` says to write.

use anyhow::{Context, Result};

use super::{container::Container, namespace::Namespace, spec::Init};

/// Writes what starts its services; it has not run yet.
pub(super) fn prepare(namespace: &Namespace, guest: &Container) -> Result<()> {
    let (table, hook) = match guest.spec.init {
        Init::Systemd => return Ok(()),
        Init::OpenRc => (OPENRC_TABLE, "#!/bin/sh\nexec rc-service nginx \"$1\"\n"),
        Init::Script => {
            guest.write(namespace, "/etc/start", 0o755, 0, START.as_bytes())?;
            // As if it had never been installed: by this Pinion tells who starts services.
            let openrc = guest.root(namespace).join("sbin/openrc-run");
            std::fs::remove_file(&openrc).with_context(|| format!("remove {}", openrc.display()))?;
            (
                SCRIPT_TABLE,
                "#!/bin/sh\ncase $1 in restart) nginx -s stop; exec nginx ;; *) exec nginx -s reload ;; esac\n",
            )
        }
    };
    guest.write(namespace, "/etc/inittab", 0o644, 0, table.as_bytes())?;
    guest.write(namespace, "/etc/pinion/hooks.d/nginx.service", 0o755, 0, hook.as_bytes())
}

/// Debian's for OpenRC, without the consoles that a container has none of; a container is told to stop by SIGPWR
/// (lxc.container.conf(5), `lxc.signal.halt`).
const OPENRC_TABLE: &str = "id:2:initdefault:\n\
                            si::sysinit:/etc/init.d/rcS\n\
                            l0:0:wait:/etc/init.d/rc 0\n\
                            l2:2:wait:/etc/init.d/rc 2\n\
                            l6:6:wait:/etc/init.d/rc 6\n\
                            pf::powerfail:/sbin/init 0\n";

const SCRIPT_TABLE: &str = "id:2:initdefault:\n\
                            si::sysinit:/etc/start\n\
                            l0:0:wait:/sbin/halt -d -f -p\n\
                            pf::powerfail:/sbin/init 0\n";

/// The guest's own start-up, with what the agent's start script asks for.
const START: &str = "#!/bin/sh\n\
                     rm -f /run/*.pid\n\
                     nginx\n\
                     [ ! -x /etc/pinion/start-agent ] || /etc/pinion/start-agent\n";
