//! `pinion web open` and `pinion web token`.

use clap::Subcommand;
use pinion_proto::{errln, exit::Exit, failure::Failure, out, outln, spec::PlainName};

use super::{
    Session, ask,
    documents::{Done, WebLink, WebSecret},
    print_json,
    table::table,
    unexpected,
};
use crate::{
    admin::protocol::{Answer, Ask, AskWeb},
    web::access::Right,
};

#[derive(Debug, Subcommand)]
pub(super) enum WebVerb {
    /// Print a link to the page: it works once, within two minutes, and becomes a session in your browser.
    ///
    /// The page is on 127.0.0.1:7444 unless `[web]` says otherwise. From another machine, forward the port first:
    /// `ssh -L 7444:127.0.0.1:7444 root@HOST`. A session ends after twelve hours without use, when you sign out, and when the
    /// controller restarts.
    Open {
        /// Let the session renew certificates, if `renew = true` in `[web]`.
        #[arg(long)]
        renew: bool,
    },
    /// Make, list and take back lasting tokens, for people and for scrapers such as Prometheus.
    #[command(subcommand)]
    Token(WebTokenVerb),
}

#[derive(Debug, Subcommand)]
pub(super) enum WebTokenVerb {
    /// Print a new token. Pinion keeps only its sum, so it is shown this once.
    ///
    /// A scraper sends it as `Authorization: Bearer TOKEN`. A person pastes it where the page asks for it.
    #[command(
        after_long_help = "Example:\n  (umask 077; pinion web token create prometheus > /etc/prometheus/pinion.token)"
    )]
    Create {
        /// What to call it: letters, digits, `-` and `_`.
        name: PlainName,
        /// Let it renew certificates, if `renew = true` in `[web]`. It works in sessions only, not in scripts.
        #[arg(long)]
        renew: bool,
    },
    /// List the tokens, without their secrets.
    List,
    /// Take a token back, at once. All sessions end, so everybody signs in again.
    Revoke {
        /// The token's name.
        name: PlainName,
    },
}

/// Lets somebody look.
pub(super) async fn run(session: &Session, verb: WebVerb) -> Result<Exit, Failure> {
    let question = match &verb {
        WebVerb::Open { renew } => AskWeb::Link { renew: *renew },
        WebVerb::Token(WebTokenVerb::Create { name, renew }) => {
            AskWeb::CreateToken { name: name.clone(), renew: *renew }
        }
        WebVerb::Token(WebTokenVerb::Revoke { name }) => AskWeb::RevokeToken(name.clone()),
        WebVerb::Token(WebTokenVerb::List) => AskWeb::Tokens,
    };
    match ask(session, &Ask::Web(question)).await? {
        Answer::WebLink(link) if session.json => print_json(&WebLink { link: &link }),
        Answer::WebLink(link) => {
            outln!("{link}");
            errln!("this link works once, within two minutes");
        }
        Answer::WebToken(token) if session.json => print_json(&WebSecret { token: &token }),
        Answer::WebToken(token) => {
            outln!("{token}");
            errln!("this token works until you take it back; it is not shown again");
        }
        Answer::WebTokens(tokens) if session.json => print_json(&tokens),
        Answer::WebTokens(tokens) => {
            let may = |right| if right == Right::Renew { "look and renew" } else { "look" };
            let row = |token: crate::web::access::WebToken| {
                [token.name.to_string(), may(token.right).to_owned(), token.created_at.to_string()]
            };
            let rows: Vec<_> = tokens.into_iter().map(row).collect();
            out!("{}", table(["NAME", "MAY", "CREATED"], &rows));
        }
        Answer::End => {
            let text = "the token is taken back, and every session has ended";
            if session.json { print_json(&Done { done: text }) } else { outln!("{text}") }
        }
        other => return Err(unexpected(&other)),
    }
    Ok(Exit::Reached)
}
