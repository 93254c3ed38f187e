use keybearer_guest::prelude::*;

#[derive(Choice)]
enum Order {
    Newest,
}

struct Id(String);

fn main() {
    _ = connection("x").get("/a/{}", [&Order::Newest]);
    _ = connection("x").get("/a/{}", [&Id(String::new())]);
}
