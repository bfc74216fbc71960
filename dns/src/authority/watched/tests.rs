use std::fs;

use super::*;
use crate::corefile::domain::Domain;

const HEAD: &str = "$TTL 60\n@ SOA ns root 1 60 60 60 30\n@ NS ns\nns A 10.0.0.1\n";

fn folder(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("daymark-watched-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_file_that_changed_is_read_again_whatever_its_serial() {
    let path = folder("reload").join("db");
    let domain = Domain::parse("a.test").unwrap();
    let zone = Held::new(&domain, None);
    let source = Watched::new(path.clone(), Arc::clone(&zone));
    assert!(!source.look(), "it is not there");
    assert!(zone.current().is_none());

    fs::write(&path, HEAD).unwrap();
    assert!(source.look());
    assert!(!source.look(), "nothing changed");
    fs::write(&path, format!("{HEAD}new A 10.0.0.2\n")).unwrap();
    assert!(source.look());
    assert_eq!(zone.current().unwrap().len(), 4);

    fs::write(&path, "nonsense\n").unwrap();
    assert!(!source.look());
    assert_eq!(zone.current().unwrap().len(), 4, "the last good state is kept");

    let included = path.with_file_name("more");
    fs::write(&included, "one A 10.0.0.3\n").unwrap();
    fs::write(&path, format!("{HEAD}$INCLUDE more\n")).unwrap();
    assert!(source.look());
    source.look();
    fs::write(&included, "one A 10.0.0.3\ntwo A 10.0.0.4\n").unwrap();
    assert!(source.look(), "an included file changed");
    assert_eq!(zone.current().unwrap().len(), 5);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
