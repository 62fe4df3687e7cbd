//! Where pushes are to go.

use crate::client::{Client, NAMES, PASSWORD, start};
use backscroll::model::{Secret, UserName};
use backscroll::protocol::ClientRpc;

#[tokio::test]
async fn push_tokens_belong_to_the_account_and_have_a_bound() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let alice = UserName::new(NAMES[0]);
    let mut client = Client::connect(&server).await;
    client.rpc(ClientRpc::RegisterPushToken(Secret::new("of a stranger"))).await;
    client.password(NAMES[0], PASSWORD).await.unwrap();
    for number in 0..40 {
        client.rpc(ClientRpc::RegisterPushToken(Secret::new(format!("device {number}")))).await;
    }
    client.rpc(ClientRpc::RegisterPushToken(Secret::new("device 10"))).await;
    client.rpc(ClientRpc::RegisterPushToken(Secret::new("x".repeat(10_000)))).await;
    client.rpc(ClientRpc::UnregisterPushToken(Secret::new("device 20"))).await;
    // They are not answered; a pong tells that they are done.
    assert_eq!(client.count_until_pong().await, 0);
    server.stop().await;
    let server = start(data.path()).await;
    let kept = server.accounts().push_tokens(&alice).unwrap();
    let kept: Vec<&str> = kept.iter().map(Secret::reveal).collect();
    assert_eq!(kept.len(), 31);
    assert_eq!((kept[0], kept[30]), ("device 8", "device 10"));
    assert!(!kept.contains(&"device 20"));
    assert_eq!(server.accounts().push_tokens(&UserName::new(NAMES[1])).unwrap(), []);
    server.accounts().remove(&alice).unwrap();
    assert!(server.accounts().push_tokens(&alice).is_err());
}
