#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

type Change = Result<Vec<String>, Vec<SourceError>>;

/// Writes a whole file at once: what is seen of a change is never half of it.
fn write(dir: &Path, file: &str, name: &str) {
    let text = format!("apiVersion: ringfence.dev/v1alpha1\nkind: HostGrant\nmetadata: {{name: {name}}}\nspec: {{hosts: [a.b], namespaces: [a]}}\n");
    fs::write(dir.join(".new"), text).unwrap();
    fs::rename(dir.join(".new"), dir.join(file)).unwrap();
}

/// Follows `dir` in the background; what changes comes out of the channel.
fn follow(dir: &Path, pace: Pace) -> (mpsc::UnboundedReceiver<Change>, task::JoinHandle<()>) {
    let (sender, changes) = mpsc::unbounded_channel();
    let mut source = FolderSource::new(dir);
    source.load().unwrap();
    let watch = source.watch_at(pace, move |folder| {
        let change = folder.map(|folder| folder.objects.iter().map(|object| object.key.name.to_string()).collect());
        let _ = sender.send(change);
    });
    (changes, tokio::spawn(watch))
}

/// Waits for the change that `wanted` accepts; those before it may show a state in between.
async fn await_change(changes: &mut mpsc::UnboundedReceiver<Change>, wanted: impl Fn(&Change) -> bool) -> Change {
    let found = async {
        loop {
            let change = changes.recv().await.unwrap();
            if wanted(&change) {
                return change;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap()
}

fn has(name: &str) -> impl Fn(&Change) -> bool {
    move |change| change.as_ref().is_ok_and(|names| names.iter().any(|known| known == name))
}

/// Only the file system tells: looks are too far apart to matter.
fn told() -> Pace {
    Pace { look_watched: PATIENCE * 10, ..PACE }
}

fn looking() -> Pace {
    Pace { watched: false, look_unwatched: Duration::from_millis(20), ..PACE }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn changes_of_every_kind_are_followed() {
    for pace in [told(), looking()] {
        let dir = TempDir::new().unwrap();
        write(dir.path(), "a.yaml", "first");
        let (mut changes, _task) = follow(dir.path(), pace);
        write(dir.path(), "b.yaml", "second");
        await_change(&mut changes, has("second")).await.unwrap();
        write(dir.path(), "a.yaml", "third");
        await_change(&mut changes, has("third")).await.unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        write(&dir.path().join("sub"), "c.yaml", "fourth");
        await_change(&mut changes, has("fourth")).await.unwrap();
        fs::remove_file(dir.path().join("b.yaml")).unwrap();
        await_change(&mut changes, |change| !has("second")(change) && change.is_ok()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_volume_of_kubernetes_is_followed_through_its_swap() {
    let dir = TempDir::new().unwrap();
    let version = |name: &str, grant: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        write(&dir.path().join(name), "a.yaml", grant);
        symlink(name, dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    };
    version("..1", "first");
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let (mut changes, _task) = follow(dir.path(), told());
    version("..2", "second");
    fs::remove_dir_all(dir.path().join("..1")).unwrap();
    assert_eq!(await_change(&mut changes, has("second")).await.unwrap(), ["second"]);
    version("..3", "third");
    assert_eq!(await_change(&mut changes, has("third")).await.unwrap(), ["third"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_broken_file_is_told_and_so_is_its_repair() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.yaml", "first");
    let (mut changes, _task) = follow(dir.path(), told());
    fs::write(dir.path().join("b.yaml"), "a: [").unwrap();
    let errors = await_change(&mut changes, Result::is_err).await.unwrap_err();
    assert!(errors[0].to_string().starts_with("b.yaml:"), "{errors:?}");
    fs::remove_file(dir.path().join("b.yaml")).unwrap();
    assert_eq!(await_change(&mut changes, Result::is_ok).await.unwrap(), ["first"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_that_goes_and_comes_back_is_followed_again() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("config");
    fs::create_dir(&dir).unwrap();
    write(&dir, "a.yaml", "first");
    let pace = Pace { look_unwatched: Duration::from_millis(20), ..told() };
    let (mut changes, _task) = follow(&dir, pace);
    fs::rename(&dir, parent.path().join("away")).unwrap();
    let errors = await_change(&mut changes, |change| change.as_ref().is_err_and(|errors| errors[0].message.contains("cannot be read"))).await;
    assert!(errors.is_err());
    fs::rename(parent.path().join("away"), &dir).unwrap();
    await_change(&mut changes, has("first")).await.unwrap();
    write(&dir, "b.yaml", "second");
    await_change(&mut changes, has("second")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_changes_nothing_is_not_handed_on() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.yaml", "first");
    let (mut changes, _task) = follow(dir.path(), looking());
    write(dir.path(), "a.yaml", "first");
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    write(dir.path(), "b.yaml", "second");
    assert_eq!(await_change(&mut changes, |_| true).await.unwrap(), ["first", "second"], "the first thing that is told is the first real change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_change_that_does_not_show_from_outside_is_found() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.yaml", "first");
    let mut source = FolderSource::new(dir.path());
    source.load().unwrap();
    write(dir.path(), "a.yaml", "other");
    // As if both writes fell into one tick of the file system's clock.
    source.seen = Some(Listing::new(dir.path()).unwrap());
    let (sender, mut changes) = mpsc::unbounded_channel();
    let task =
        tokio::spawn(source.watch_at(looking(), move |folder| drop(sender.send(folder.map(|folder| vec![folder.objects[0].key.name.to_string()])))));
    assert_eq!(await_change(&mut changes, |_| true).await.unwrap(), ["other"]);
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_change_that_meets_a_fault_is_not_the_last_one() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "a.yaml", "first");
    let mut source = FolderSource::new(dir.path());
    source.load().unwrap();
    let (sender, mut changes) = mpsc::unbounded_channel();
    let task = tokio::spawn(source.watch_at(looking(), move |folder| {
        let names: Vec<_> = folder.unwrap().objects.iter().map(|object| object.key.name.to_string()).collect();
        let _ = sender.send(Ok(names.clone()));
        assert!(!names.contains(&"bad".to_owned()), "on purpose");
    }));
    write(dir.path(), "b.yaml", "bad");
    await_change(&mut changes, has("bad")).await.unwrap();
    write(dir.path(), "b.yaml", "good");
    await_change(&mut changes, has("good")).await.unwrap();
    task.abort();
}
