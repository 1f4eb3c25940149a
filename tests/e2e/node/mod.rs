//! A whole cluster, with pods.

mod remains;

use crate::support::node::Node;

#[tokio::test]
async fn a_whole_cluster() {
    let node = Node::start().await;
    let pause = "{apiVersion: v1, kind: Pod, metadata: {name: pause}, spec: {containers: [{name: pause, image: 'localhost/pause:1'}]}}";
    node.kubernetes.apply(pause).await;
    node.kubernetes.kubectl(&["wait", "--for=condition=Ready", "--timeout=60s", "pod/pause"], "").await.unwrap();
    let folder = node.folder().to_owned();
    drop(node);
    remains::assert_none_of(&folder);
    remains::assert_no_groups();
}
