use super::*;
use crate::erofs;

struct Fixture {
    store: Store,
    _home: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let home = tempfile::tempdir().unwrap();
    Fixture {
        store: Store::open(home.path().join("sprout")),
        _home: home,
    }
}

fn add(store: &Store, reference: &str, content: &str) -> Image {
    let mut tree = Tree::default();
    tree.insert("/file", Node::file(0o644, content.as_bytes()))
        .unwrap();
    let config = ImageConfig {
        entrypoint: vec!["/bin/x".into()],
        ..ImageConfig::default()
    };
    let provenance = Provenance::new("test");
    store
        .add_image(&reference.parse().unwrap(), &tree, 0, config, provenance)
        .unwrap()
}

fn leftovers(store: &Store) -> usize {
    fs::read_dir(store.images_dir())
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .starts_with('.')
        })
        .count()
}

#[test]
fn an_image_is_found_again() {
    let Fixture { store, _home } = &fixture();
    let added = add(store, "app:1", "x");
    let found = store.resolve("app:1").unwrap();
    assert_eq!(found, added);
    found.verify().unwrap();
    assert_eq!(store.image_file(found.digest).unwrap(), found.file());
    assert_eq!(
        fs::metadata(&found.path).unwrap().permissions().mode() & 0o777,
        0o400
    );
    assert_eq!(leftovers(store), 0);
}

#[test]
fn a_name_can_move_on_and_equal_content_is_kept_once() {
    let Fixture { store, _home } = &fixture();
    let (first, again) = (add(store, "app:1", "x"), add(store, "app:2", "x"));
    assert_eq!(first.path, again.path);
    let moved = add(store, "app:1", "y");
    assert_ne!(moved.digest, first.digest);
    assert_eq!(store.resolve("app:1").unwrap().digest, moved.digest);
    let listed: Vec<String> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|i| i.unwrap().reference.to_string())
        .collect();
    assert_eq!(listed, ["app:1", "app:2"]);
}

#[test]
fn a_missing_image_comes_with_the_command_that_makes_it() {
    let Fixture { store, _home } = &fixture();
    let error = store.resolve("node:24").unwrap_err().to_string();
    assert!(
        error.contains("run `sprout image build node:24`"),
        "{error}"
    );
    let error = store.resolve("own").unwrap_err().to_string();
    assert!(error.contains("DIRECTORY --name own:latest"), "{error}");
    assert!(store.list().unwrap().is_empty());
}

#[test]
fn damage_is_found_and_building_again_repairs_it() {
    let Fixture { store, _home } = &fixture();
    let image = add(store, "app:1", "x");
    let good = fs::read(&image.path).unwrap();

    let mut bad = good.clone();
    bad[4096] ^= 1;
    fs::remove_file(&image.path).unwrap();
    fs::write(&image.path, &bad).unwrap();
    assert!(store.resolve("app:1").unwrap().verify().is_err());
    add(store, "app:1", "x");
    store.resolve("app:1").unwrap().verify().unwrap();

    fs::remove_file(&image.path).unwrap();
    fs::write(&image.path, &good[..good.len() / 2]).unwrap();
    assert!(matches!(store.resolve("app:1"), Err(Error::Corrupt { .. })));
    fs::remove_file(&image.path).unwrap();
    assert!(matches!(store.resolve("app:1"), Err(Error::Corrupt { .. })));
    fs::write(store.images_dir().join("app_1.json"), "{").unwrap();
    assert!(matches!(store.resolve("app:1"), Err(Error::Corrupt { .. })));
    assert!(store.list().unwrap().iter().all(Result::is_err));
}

#[test]
fn a_function_is_built_once_for_each_content() {
    let Fixture { store, _home } = &fixture();
    let function = tempfile::tempdir().unwrap();
    fs::write(function.path().join("index.mjs"), "export default 1").unwrap();
    let first = store.function_image(function.path(), &mut |_| {}).unwrap();
    let written = fs::metadata(&first.path).unwrap().modified().unwrap();
    assert_eq!(
        store.function_image(function.path(), &mut |_| {}).unwrap(),
        first
    );
    assert_eq!(
        fs::metadata(&first.path).unwrap().modified().unwrap(),
        written
    );
    fs::write(function.path().join("index.mjs"), "export default 2").unwrap();
    assert_ne!(
        store
            .function_image(function.path(), &mut |_| {})
            .unwrap()
            .digest,
        first.digest
    );
}

#[test]
fn the_agent_has_an_image() {
    let Fixture { store, _home } = &fixture();
    let image = store.agent_image().unwrap();
    let reader = erofs::read::Reader::open(&image.path).unwrap();
    let entries = reader.entries().unwrap();
    for (name, text) in sprout_agent::JS_FILES {
        let path = format!("/{name}").into_bytes();
        let entry = entries.iter().find(|entry| entry.path == path).unwrap();
        assert_eq!(reader.data(entry).unwrap(), text.as_bytes());
    }
}

#[test]
fn directories_of_others_are_named_safely() {
    let Fixture { store, _home } = &fixture();
    assert!(
        store
            .function_dir("hello")
            .unwrap()
            .ends_with("functions/hello")
    );
    assert!(store.snapshot_dir("../images").is_err());
}
