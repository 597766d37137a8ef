//! A browser without a screen: requests with the headers that a test wants.

use std::net::SocketAddr;

use pinion_tests::{
    host::Host,
    wait::{self, PATIENCE},
};
use reqwest::{Certificate, Client, Method, Response, StatusCode, header, redirect::Policy};

/// Somebody who asks the page of one host.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) address: SocketAddr,
    /// The page's own: `http://` and its address, or `https://` and its name.
    pub(crate) origin: String,
    pub(crate) client: Client,
    /// `pinion_session=…`, or nothing.
    pub(crate) cookie: String,
    /// A lasting token, or nothing.
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: header::HeaderMap,
    pub(crate) body: String,
}

impl Visitor {
    /// Somebody whom nobody knows.
    pub(crate) fn stranger(host: &Host) -> Self {
        // The client wants one, although nothing here is encrypted; another test may have been first.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let client = Client::builder().redirect(Policy::none()).build().expect("a client");
        let address = host.web().expect("the host has a page");
        Self { address, origin: format!("http://{address}"), client, cookie: String::new(), token: String::new() }
    }

    /// As that, of a page with a name and this certificate (PEM).
    pub(crate) fn of_page(address: SocketAddr, name: &str, certificate: &str) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let trusted = Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
        let client = Client::builder().redirect(Policy::none()).tls_certs_only([trusted]).resolve(name, address);
        let client = client.build().expect("a client");
        let origin = format!("https://{name}:{}", address.port());
        Self { address, origin, client, cookie: String::new(), token: String::new() }
    }

    /// Somebody who has opened a link of `pinion web open`.
    pub(crate) async fn signed_in(host: &Host, words: &[&str]) -> Self {
        let mut visitor = Self::stranger(host);
        let link = link(host, words);
        visitor.cookie = cookie(&visitor.get(path(&link)).await);
        visitor
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    /// A form of this page.
    pub(crate) async fn post(&self, path: &str, form: &str) -> Answer {
        self.ask(Method::POST, path, &[("origin", &self.origin)], form).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], form: &str) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.origin));
        if !self.cookie.is_empty() {
            request = request.header(header::COOKIE, &self.cookie);
        }
        if !self.token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        }
        if !form.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.to_owned());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send().await.expect("the page answers")).await
    }

    /// Waits until there is room for one more: until then a connection is ended without an answer.
    pub(crate) async fn wait_for_page(&self) {
        let get = || self.client.get(format!("http://{}/", self.address)).header(header::COOKIE, &self.cookie).send();
        let page = wait::until_async("the page", PATIENCE, async || match get().await {
            Ok(answer) if answer.status() == StatusCode::OK => Ok(()),
            Ok(answer) => Err(answer.status().to_string()),
            Err(error) => Err(error.to_string()),
        });
        page.await.expect("there is room again");
    }

    /// A stream that stays open.
    pub(crate) async fn stream(&self) -> reqwest::Result<Response> {
        self.client.get(format!("http://{}/live", self.address)).header(header::COOKIE, &self.cookie).send().await
    }
}

async fn answer(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    Answer { status, headers, body: response.text().await.expect("text") }
}

/// The link that `pinion web open` prints.
pub(crate) fn link(host: &Host, words: &[&str]) -> String {
    let opened = host.pinion(&[&["web", "open"], words].concat()).expect("it runs").succeeded().expect("a link");
    opened.stdout.trim().to_owned()
}

/// A link's path.
pub(crate) fn path(link: &str) -> &str {
    link.find("/open/").and_then(|at| link.get(at..)).expect("a link to the page")
}

/// The session's cookie that an answer sets.
pub(crate) fn cookie(answer: &Answer) -> String {
    let set = answer.headers.get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
    let set = set.unwrap_or_else(|| panic!("no session: {answer:?}"));
    set.split(';').next().unwrap_or_default().to_owned()
}
