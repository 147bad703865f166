//! What SECURITY.md claims is proved by tests, and each of those is there under the name that the page gives it.

use crate::support::tools::of_project;

/// The page's references: `file: name_of_a_test`.
fn references(page: &str) -> Vec<(&str, &str)> {
    let coded = page.split('`').skip(1).step_by(2);
    coded
        .filter_map(|code| code.split_once(".rs: ").map(|(file, _)| (&code[..file.len() + 3], &code[file.len() + 5..])))
        .collect()
}

#[test]
fn every_claim_names_a_test_that_is_there() {
    let page = std::fs::read_to_string(of_project("SECURITY.md")).expect("the page");
    let found = references(&page);
    assert!(found.len() > 30, "{found:?}");
    for (file, test) in found {
        let text = std::fs::read_to_string(of_project(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        let (plain, waiting) = (format!("fn {test}()"), format!("async fn {test}()"));
        let is_test = |pair: &[&str]| {
            (pair[1].starts_with(&plain) || pair[1].starts_with(&waiting))
                && pair[0].starts_with("#[")
                && pair[0].contains("test")
        };
        assert!(lines.windows(2).any(is_test), "{file} has no test {test}");
    }
}
