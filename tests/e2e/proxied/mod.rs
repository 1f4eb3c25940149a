//! Through every front door, each a real proxy that is configured by its example.

/// One test for each door, so that they run side by side and each has its name.
macro_rules! for_each_door {
    ($test:ident) => {
        crate::support::doors::with_doors! { tests_of $test }
    };
}
macro_rules! tests_of {
    ([$test:ident] $($name:ident => $door:ident,)*) => {
        mod $test {
            $(
                #[tokio::test]
                async fn $name() {
                    super::$test(&crate::support::doors::$door).await;
                }
            )*
        }
    };
}

mod attacks;
mod bytes;
mod cases;
mod control_planes;
mod event_grid;
mod forwarding;
mod ingress_nginx;
mod keys;
mod metadata;
mod pins;
mod reloads;
mod reuse;
mod shared_reuse;
mod shutdown;
mod sources;
mod table;
mod traefik;
mod websockets;
