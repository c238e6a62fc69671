//! The walls of the house: which module may import which, as the table in ARCHITECTURE.md says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The table: a module, and what it may import beside what everybody may.
struct Table {
    allowed: BTreeMap<String, BTreeSet<String>>,
    everybody: BTreeSet<String>,
}

/// Reads the rows of the first table whose head is `| module | may import |`. A cell is a list of names; `nothing` and
/// `everything` are what they say, and a row of modules that import nothing of ours is what everybody may import.
fn table(text: &str) -> Table {
    let rows = text.lines().skip_while(|line| !line.starts_with("| module | may import")).skip(2);
    let mut table = Table { allowed: BTreeMap::new(), everybody: BTreeSet::new() };
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let names = |cell: &str| -> BTreeSet<String> {
            cell.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
        };
        let modules = names(cells[0]);
        let mut allowed = names(cells[1]);
        if allowed.remove("nothing") {
            table.everybody.extend(modules.iter().cloned());
        }
        for module in modules {
            assert!(table.allowed.insert(module.clone(), allowed.clone()).is_none(), "{module} stands twice");
        }
    }
    assert!(table.allowed.len() > 8, "no table found");
    table
}

impl Table {
    fn allows(&self, module: &str, imported: &str) -> bool {
        let allowed = &self.allowed[module];
        imported == module
            || self.everybody.contains(imported)
            || allowed.contains(imported)
            || (allowed.contains("everything") && imported != "app")
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every module that a file names by `crate::`, with the number of the line; what is under `#[cfg(test)]` counts too.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap();
        for part in code.split("crate::").skip(1) {
            let modules = part.strip_prefix('{').map_or(part, |list| list.split('}').next().unwrap());
            let many = part.starts_with('{');
            let first = |text: &str| -> String {
                text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
            };
            if many {
                found.extend(modules.split(',').map(|module| (index + 1, first(module))));
            } else {
                found.push((index + 1, first(modules)));
            }
        }
    }
    found
}

/// The module that a file belongs to: its first folder or its own name below `src`.
fn module_of(file: &Path, src: &Path) -> String {
    let relative = file.strip_prefix(src).unwrap();
    relative.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table = table(&fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap());
    let src = Path::new(ROOT).join("src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources(&src) {
        let module = module_of(&file, &src);
        if module == "lib" || module == "main" {
            continue;
        }
        assert!(table.allowed.contains_key(&module), "{module} is not in the table");
        seen.insert(module.clone());
        for (line, imported) in imports(&fs::read_to_string(&file).unwrap()) {
            if !table.allows(&module, &imported) {
                wrong.push(format!("{}:{line}: {module} may not import {imported}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<_> = table.allowed.keys().filter(|module| !seen.contains(*module)).collect();
    assert!(missing.is_empty(), "in the table, but not in src: {missing:?}");
}

/// What may be named only in these places, and why.
const KEPT_IN: &[(&str, &[&str], &str)] = &[
    ("socketioxide", &["src/sockets/"], "the adapter's type stays behind the edge"),
    (
        "fred::",
        &["src/bus/", "src/sockets/across.rs", "src/sockets/mod.rs"],
        "Redis is the bus's, and what joins rooms",
    ),
    ("jsonwebtoken", &["src/auth/"], "one place decides what a token is"),
    ("use ring::", &["src/auth/"], "one place computes signatures and hashes"),
    ("utoipa", &["src/http/", "src/publish/"], "the API is described where it is"),
    (
        "reqwest::",
        &["src/messages/backend/", "src/sources/exchange/past/"],
        "back ends and the past of exchanges are what we call",
    ),
    ("prometheus::", &["src/metrics/"], "one place knows how it is written for Prometheus"),
    ("rmpv::", &["src/messages/"], "one place reads what others put on Redis"),
    ("tokio::spawn", &[], "long-lived tasks are spawned in app.rs, under its tracker"),
    ("JoinSet", &["src/app.rs"], "long-lived tasks are spawned in app.rs"),
    ("unbounded_channel", &[], "every channel is bounded"),
    ("allow(dead_code)", &[], "what nobody uses goes"),
];

#[test]
fn some_names_stay_where_they_belong() {
    let root = Path::new(ROOT);
    for file in sources(&root.join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let place = file.strip_prefix(root).unwrap().to_str().unwrap();
        for (name, places, why) in KEPT_IN {
            let code = || text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let allowed = places.iter().any(|allowed| place.starts_with(allowed));
            assert!(allowed || !code().any(|line| line.contains(name)), "{place} names {name}: {why}");
        }
    }
}

#[test]
fn the_reader_of_imports_sees_them() {
    let text = "use crate::bus::Bus;\nuse crate::{http, net::Listener};\n// crate::config\nfn f(m: &crate::market::Market) {}\n";
    let found: Vec<_> = imports(text).into_iter().map(|(line, module)| format!("{line}:{module}")).collect();
    assert_eq!(found, ["1:bus", "2:http", "2:net", "4:market"]);

    let table = table(
        "| module | may import |\n|---|---|\n| `price`, `clock` | nothing |\n| `bus` | config |\n| `market` | config |\n\
         | `app` | everything |\n| `a` | b |\n| `b` | c |\n| `c` | d |\n| `d` | e |\n| `e` | f |\n",
    );
    assert!(table.allows("market", "price") && table.allows("market", "config") && table.allows("app", "bus"));
    assert!(!table.allows("market", "bus") && !table.allows("price", "config"));
}
