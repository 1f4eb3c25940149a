//! Through a real Envoy and a real nginx, configured by the examples.

mod cases;
mod keys;
mod pins;
mod reloads;
mod shutdown;
mod sources;
mod table;
mod websockets;

/// One test for each kind of proxy, so that they run side by side and each has its name.
macro_rules! for_each_proxy {
    ($test:ident) => {
        mod $test {
            use crate::support::proxies::Kind;

            #[tokio::test]
            async fn envoy_over_grpc() {
                super::$test(Kind::EnvoyGrpc).await;
            }

            #[tokio::test]
            async fn envoy_over_grpc_with_joined_headers() {
                super::$test(Kind::EnvoyGrpcMap).await;
            }

            #[tokio::test]
            async fn envoy_over_http() {
                super::$test(Kind::EnvoyHttp).await;
            }

            #[tokio::test]
            async fn nginx() {
                super::$test(Kind::Nginx).await;
            }
        }
    };
}
use for_each_proxy;
