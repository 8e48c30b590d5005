//! A pipeline of three agents that feeds itself: a crawler. Each step has a topic of its own, in MessagePack.
//!
//! ```text
//! to-fetch --> fetch --> pages --> parse --> found --> remember: crawled (table)
//!     ^     (8 sites at once)                             |
//!     +----------------- links that are new --------------+
//! ```
//! `to-fetch` is keyed by site and `fetch` has `concurrency(8)`: eight sites are fetched at once, but never two pages of one
//! site, and these in the order in which they were asked for. The web is simulated, and takes a fifth of a second a page.
//!
//! In three terminals:
//! ```text
//! cargo run --example 04_pipeline -- broker
//! cargo run --example 04_pipeline -- worker
//! cargo run --example 04_pipeline -- crawl tanist.example other.example
//! ```
//! and then `scan crawled`.

use tanist::codec::MessagePack;
use tanist::prelude::*;
use tanist_examples as _; // the allocator

/// A page as it came.
#[derive(Serialize, Deserialize)]
struct Page {
    url: String,
    html: String,
}

/// What is found out about a URL.
#[derive(Serialize, Deserialize)]
enum Found {
    /// Somebody links to it.
    Link,
    /// It was fetched, and has so many words.
    Page { words: u64 },
}

/// What is known of a URL.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Known {
    /// How many links to it were found.
    links: u64,
    /// None until it was fetched.
    words: Option<u64>,
}

/// Keeps what was found, by URL, and has what is new fetched.
struct Remember {
    crawled: Table<String, Known>,
    to_fetch: Topic<String, String>,
}

impl Agent for Remember {
    type Key = String;
    type Value = Found;

    async fn handle(&mut self, found: Record<String, Found>, cx: &mut Context) -> Handled {
        let url = found.key;
        let links = self.crawled.update(&url, |known| {
            match found.value {
                Found::Link => known.links += 1,
                Found::Page { words } => known.words = Some(words),
            }
            known.links
        })?;
        if matches!(found.value, Found::Link) && links == 1 {
            let site = web::site(&url).to_owned();
            cx.send(&self.to_fetch, site, url)?;
        }
        Ok(())
    }
}

fn crawler() -> App {
    let mut app = App::new("crawler");
    let to_fetch = app
        .topic::<String, String>("to-fetch")
        .value_codec(MessagePack);
    let pages = app.topic::<String, Page>("pages").value_codec(MessagePack);
    let found = app
        .topic::<String, Found>("found")
        .value_codec(MessagePack)
        .partitions(4);
    let crawled = app.table::<String, Known>("crawled");

    let fetched = pages.clone();
    app.agent_fn("fetch", &to_fetch, async move |asked, cx| {
        let url = asked.value;
        let html = web::get(&url).await;
        cx.send(&fetched, asked.key, Page { url, html })
    })
    .concurrency(8);

    let parsed = found.clone();
    app.agent_fn("parse", &pages, async move |page, cx| {
        let Page { url, html } = page.value;
        for link in web::links(&html) {
            cx.send(&parsed, link, Found::Link)?;
        }
        let words = web::words(&html);
        cx.send(&parsed, url, Found::Page { words })
    });

    app.agent("remember", &found, move |shard| Remember {
        crawled: shard.table(&crawled),
        to_fetch: to_fetch.clone(),
    });

    app.command(
        "crawl",
        "Fetch all pages of these sites",
        async move |args: Crawl, client| {
            for site in args.sites {
                client
                    .send(&found, web::front_page(&site), &Found::Link)
                    .await?;
            }
            client.flush().await
        },
    );
    app
}

#[derive(clap::Args)]
struct Crawl {
    /// Any names will do
    #[arg(required = true)]
    sites: Vec<String>,
}

fn main() -> tanist::Result<()> {
    crawler().main()
}

/// A web in which each site has fifteen pages, linked as a tree, each with a link home.
mod web {
    use std::time::Duration;

    /// Pages of a site.
    pub(super) const PAGES: u32 = 15;
    /// How long a page takes.
    pub(super) const LATENCY: Duration = Duration::from_millis(200);

    pub(super) fn front_page(site: &str) -> String {
        format!("{site}/0")
    }

    pub(super) fn site(url: &str) -> &str {
        url.split_once('/').map_or(url, |(site, _)| site)
    }

    pub(super) async fn get(url: &str) -> String {
        tokio::time::sleep(LATENCY).await;
        let site = site(url);
        let number = url.rsplit('/').next().and_then(|page| page.parse().ok());
        let number: u32 = number.unwrap_or(0);
        let mut html = format!(r#"<a href="{site}/0">home</a>"#);
        for child in [2 * number + 1, 2 * number + 2] {
            if child < PAGES {
                html += &format!(r#" <a href="{site}/{child}">next</a>"#);
            }
        }
        html + &" words".repeat(number as usize)
    }

    pub(super) fn links(html: &str) -> impl Iterator<Item = &str> {
        let tags = html.split(r#"href=""#).skip(1);
        tags.filter_map(|rest| Some(rest.split_once('"')?.0))
    }

    /// Words outside of tags.
    pub(super) fn words(html: &str) -> u64 {
        let texts = html.split('<').map(|tag| match tag.split_once('>') {
            Some((_, text)) => text,
            None => tag,
        });
        texts
            .map(|text| text.split_whitespace().count() as u64)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tanist::testing::TestApp;

    use super::*;

    const SITES: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

    fn crawl(test: &mut TestApp) {
        for site in SITES {
            test.topic("found").send(web::front_page(site), Found::Link);
        }
    }

    /// Every page once, on all the way; and the pages of a site were fetched in the order in which they were asked for.
    fn check(test: &mut TestApp, seed: u64) {
        let asked = test.topic("to-fetch").records::<String, String>();
        let fetched = test.topic("pages").records::<String, Page>();
        for site in SITES {
            let asked = asked.iter().filter(|(key, _)| key == site);
            let fetched = fetched.iter().filter(|(key, _)| key == site);
            let asked: Vec<&str> = asked.map(|(_, url)| url.as_str()).collect();
            let fetched: Vec<&str> = fetched.map(|(_, page)| page.url.as_str()).collect();
            assert_eq!(fetched, asked, "seed {seed}");
        }

        let crawled = test.table("crawled").entries::<String, Known>();
        let expected: BTreeMap<String, Known> = SITES.into_iter().flat_map(known).collect();
        assert_eq!(
            crawled.into_iter().collect::<BTreeMap<_, _>>(),
            expected,
            "seed {seed}"
        );
        assert_eq!(fetched.len(), expected.len(), "seed {seed}");
    }

    /// What there is to know of a site: the front page is linked to by us and by each page, every other page once; a page
    /// has the words of its links (home, and a next for each child), and as many more as its number says.
    fn known(site: &str) -> impl Iterator<Item = (String, Known)> {
        (0..web::PAGES).map(move |number| {
            let links = if number == 0 { 1 + web::PAGES } else { 1 };
            let children = if 2 * number + 2 < web::PAGES { 2 } else { 0 };
            let known = Known {
                links: links.into(),
                words: Some((1 + children + number).into()),
            };
            (format!("{site}/{number}"), known)
        })
    }

    #[test]
    fn sites_are_fetched_at_once_and_pages_of_a_site_one_after_the_other() {
        let mut test = TestApp::new(crawler());
        test.settle();
        let begun = test.now();
        crawl(&mut test);
        test.settle();
        let took = Duration::from_millis((test.now().0 - begun.0) as u64);
        let one_site = web::LATENCY * web::PAGES;
        assert!(
            took >= one_site,
            "{took:?}: two pages of a site were fetched at once"
        );
        assert!(took < one_site * 2, "{took:?}: sites waited for each other");
        check(&mut test, 0);
    }

    #[test]
    fn no_page_is_lost_or_counted_twice_wherever_the_node_is_killed() {
        for seed in 0..20 {
            let mut test = TestApp::new(crawler()).seed(seed);
            crawl(&mut test);
            for round in 0..4 {
                test.advance(Duration::from_millis(50 + (seed * 131 + round * 277) % 900));
                test.kill("n1");
                test.start("n1");
            }
            test.settle();
            check(&mut test, seed);
        }
    }
}
