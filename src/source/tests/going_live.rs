use std::time::Duration;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_change_is_swapped_as_a_whole_and_published() {
    let configuration = Configuration::new(&load(&[("a.yaml", &policy()), ("b.yaml", SECRET)]).objects, Options::default());
    let (policies, changes) = (configuration.policies(), configuration.subscribe());
    let first = configuration.current();
    assert_eq!((first.taken_count, first.refused_count, first.reports.len(), first.key_sets.len()), (1, 0, 1, 1));
    assert!(Arc::ptr_eq(&policies.load(), &first.policies));
    assert!(!changes.has_changed().unwrap());

    configuration.take(&[]);
    assert!(changes.has_changed().unwrap());
    assert_eq!((policies.load().parts().holders.len(), configuration.current().taken_count), (0, 2));
    assert_eq!(first.policies.parts().holders.len(), 1, "who took a snapshot keeps it");
}

#[test]
fn what_cannot_be_read_leaves_the_last_good_in_force() {
    let configuration = Configuration::new(&load(&[("a.yaml", &policy()), ("b.yaml", SECRET)]).objects, Options::default());
    let error = SourceError { file: "a.yaml".into(), document: Some(1), line: Some(2), message: "not YAML".to_owned() };
    configuration.refuse(vec![error.clone()]);
    let refused = configuration.current();
    assert_eq!((refused.taken_count, refused.refused_count, &*refused.refused), (1, 1, &[error][..]));
    assert_eq!(configuration.policies().load().parts().holders.len(), 1);
    configuration.take(&[]);
    assert!(configuration.current().refused.is_empty(), "a good change clears the refusal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_folder_goes_live_file_by_file() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.yaml"), policy()).unwrap();
    fs::write(dir.path().join("b.yaml"), SECRET).unwrap();
    let mut source = FolderSource::new(dir.path());
    let configuration = Arc::new(Configuration::new(&source.load().unwrap().objects, Options::default()));
    let mut changes = configuration.subscribe();
    let live = Arc::clone(&configuration);
    let follower = tokio::spawn(source.watch(move |folder| match folder {
        Ok(folder) => live.take(&folder.objects),
        Err(errors) => live.refuse(errors),
    }));
    let mut wait = async |wanted: fn(&Published) -> bool| tokio::time::timeout(PATIENCE, changes.wait_for(wanted)).await.unwrap().unwrap().clone();

    fs::write(dir.path().join("a.yaml"), policy().replace("spec:", "spec: [")).unwrap();
    let refused = wait(|published| !published.refused.is_empty()).await;
    assert_eq!(refused.policies.parts().holders.len(), 1, "the last good stays in force");
    assert!(refused.refused[0].to_string().starts_with("a.yaml:"), "{:?}", refused.refused);

    fs::write(dir.path().join("a.yaml"), policy().replace("contact-center", "renamed")).unwrap();
    // It is written in two steps, an empty file and then its text: both may be seen.
    wait(|published| {
        published.refused.is_empty() && published.policies.parts().holders.first().is_some_and(|policy| &*policy.id.label == "contoso/renamed")
    })
    .await;
    follower.abort();
}
