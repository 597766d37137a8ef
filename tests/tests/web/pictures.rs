//! Pictures of the page for the documents: what the browser shows, as text that grows with the page (SVG with its HTML).
//!
//! They land in `target/pictures`; `docs/pictures` has copies.

use std::fs;

use crate::{
    browser::{Browser, Setup, pictures},
    staged::StagedPage,
};

/// What the page looks like, before its own choice by the reader's width and colours.
const STYLE: &str = include_str!("../../../controller/src/web/assets/style.css");

/// The pages as a document shows them: no forms, because nothing in a picture can be sent.
const AS_XML: &str = "const body = document.body.cloneNode(true);
    body.querySelectorAll('script, form, .skip').forEach((one) => one.remove());
    return [new XMLSerializer().serializeToString(body), document.body.scrollHeight]";

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_pictures_are_made_of_the_page() {
    let well = StagedPage::all_well().await;
    let bad = StagedPage::one_expired_and_one_blocked().await;
    let narrow = Setup { width: 1200, height: 900, ..Setup::WIDE };
    for (name, setup, staged, path) in [
        ("all-well", narrow, &well, "/"),
        ("needs-you", narrow, &bad, "/"),
        ("placement", narrow, &bad, "/placements/mail@1003"),
        ("dark", Setup { is_dark: true, ..narrow }, &bad, "/"),
        ("phone", Setup::PHONE, &bad, "/"),
    ] {
        let browser = Browser::start(setup).await;
        browser.open(&staged.link()).await;
        browser.open(&staged.url(path)).await;
        let seen = browser.script(AS_XML).await;
        let (body, height) = (seen[0].as_str().expect("the body"), seen[1].as_u64().expect("its height"));
        let picture = picture(body, height, setup);
        let file = pictures().join(format!("{name}.svg"));
        fs::create_dir_all(pictures()).expect("a directory");
        fs::write(&file, &picture).expect("written");
        // A reader of the document sees it: it is well-formed, and nothing in it is loaded from elsewhere.
        browser.open(&format!("file://{}", file.canonicalize().expect("it is there").display())).await;
        let shown = browser.script("return document.querySelector('h1, h2')?.textContent ?? ''").await;
        assert!(shown.as_str().is_some_and(|title| !title.is_empty()), "{name}: {shown}");
        assert!(!picture.contains("csrf") && !picture.contains("src="), "{name}");
        browser.picture(&format!("document-{name}")).await;
        browser.close().await;
    }
}

/// The page's own text in a picture of this width, in its colours.
fn picture(body: &str, height: u64, setup: Setup) -> String {
    let is_narrow = setup.width < 736;
    let style = STYLE
        .replace("@media (prefers-color-scheme: dark)", if setup.is_dark { "@media all" } else { "@media not all" })
        .replace("@media (max-width: 46rem)", if is_narrow { "@media all" } else { "@media not all" });
    let width = setup.width;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{style}</style>\n<foreignObject width=\"{width}\" height=\"{height}\">{body}</foreignObject>\n</svg>\n"
    )
}
