//! The pages for people: each one document with its style and its script, and a policy that lets nothing else in.
//!
//! The texts stand beside it in `page/`. They hold no data: a page asks for that as JSON, under the same guard.

use std::sync::LazyLock;

use ring::digest::{SHA256, digest};

use super::page::Page;

/// A page that was put together.
struct Document {
    text: String,
    policy: String,
}

impl Document {
    fn new(frame: &str, script: &str) -> Self {
        let style = include_str!("page/page.css");
        let script = format!("{}{script}", include_str!("page/page.js"));
        // What runs here is known by its digest (CSP level 3), so whatever else got into the page would not run.
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; connect-src 'self'; img-src data:; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
            named(style),
            named(&script)
        );
        Self { text: frame.replace("{{style}}", style).replace("{{script}}", &script), policy }
    }
}

/// How a policy names a text.
fn named(text: &str) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    format!("sha256-{}", base64_simd::STANDARD.encode_to_string(digest.as_ref()))
}

/// The status page.
pub(super) fn status() -> Page {
    static STATUS: LazyLock<Document> =
        LazyLock::new(|| Document::new(include_str!("page/status.html"), include_str!("page/status.js")));
    Page::document(STATUS.text.as_str(), STATUS.policy.as_str())
}

/// The page of a phone call.
pub(super) fn call() -> Page {
    static CALL: LazyLock<Document> =
        LazyLock::new(|| Document::new(include_str!("page/call.html"), include_str!("page/call.js")));
    Page::document(CALL.text.as_str(), CALL.policy.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text a page is made of.
    const TEXTS: [&str; 6] = [
        include_str!("page/call.html"),
        include_str!("page/call.js"),
        include_str!("page/page.css"),
        include_str!("page/page.js"),
        include_str!("page/status.html"),
        include_str!("page/status.js"),
    ];

    #[test]
    fn a_page_asks_nobody_else_and_makes_no_markup_of_data() {
        for text in TEXTS {
            let own = text.replace("http://www.w3.org/2000/svg", "");
            for foreign in ["http://", "https://", "//cdn", "@import", "url(", "innerHTML", "insertAdjacent", "eval("] {
                assert!(!own.contains(foreign), "{foreign}");
            }
            assert!(!own.contains(" on") || !own.contains("=\"javascript"), "a handler in an attribute would not run");
            assert!(!own.contains("style=\""), "a style in an attribute would not count");
        }
    }

    #[test]
    fn the_policy_names_the_style_and_the_script_that_are_in_the_page() {
        let document = Document::new(include_str!("page/call.html"), include_str!("page/call.js"));
        for (open, close, rule) in [("<style>", "</style>", "style-src"), ("<script>", "</script>", "script-src")] {
            let inside =
                document.text.split_once(open).and_then(|(_, rest)| rest.split_once(close)).expect("it is there").0;
            assert!(document.policy.contains(&format!("{rule} '{}'", named(inside))), "{rule}");
            assert!(inside.len() > 1000 && !inside.contains("{{"));
        }
    }
}
