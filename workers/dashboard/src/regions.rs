//! The changing parts of the live pages.
//!
//! A region is a fragment of HTML with an id. All of them are rendered once for each picture; a page embeds its own,
//! and the live stream sends those that changed. An element that must survive an update (a heading, an opened
//! `<details>`) stands in the page's template, outside the regions.

use askama::Template;
use schemas::overview::Overview;
use serde::Serialize;

use crate::{format, overview, page::Page, picture::Known, pipeline};

/// The changing parts of all pages, rendered.
#[derive(Clone, Debug)]
pub(crate) struct Regions(pub(crate) Vec<Region>);

/// A fragment and the id of the element it fills.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Region {
    /// Id of the element.
    pub(crate) id: &'static str,
    /// What is inside it.
    pub(crate) html: String,
    /// The page it is on; none: it is on several, or all.
    #[serde(skip)]
    page: Option<Page>,
}

impl Region {
    fn new(
        page: impl Into<Option<Page>>,
        id: &'static str,
        template: &impl Template,
    ) -> askama::Result<Self> {
        Ok(Self {
            id,
            html: template.render()?,
            page: page.into(),
        })
    }
}

impl Regions {
    /// Renders what is known.
    ///
    /// # Errors
    /// Only if a template itself fails, which is a defect.
    pub(crate) fn render(known: &Known) -> askama::Result<Self> {
        let status = overview::judge(known);
        let mut regions = vec![
            Region::new(None, "health", &Health::new(&status))?,
            Region::new(Page::Overview, "status", &status)?,
            Region::new(Page::Overview, "traffic", &overview::Traffic::new(known))?,
            Region::new(Page::Overview, "alerts", &overview::Alerts::new(known))?,
        ];
        let sink = known
            .overview
            .as_ref()
            .and_then(|overview| overview.sink.value.as_ref());
        match sink {
            Some(sink) => regions.extend(of_sink(sink, known)?),
            None => {
                for id in ["rate-now", "sources", "nodes", "usage"] {
                    regions.push(Region::new(Page::Overview, id, &Unanswered)?);
                }
                regions.push(Region::new(None, "ledger", &Unanswered)?);
            }
        }
        regions.extend(of_pipeline(known)?);
        Ok(Self(regions))
    }

    /// The fragment with this id; empty if there is nothing to show.
    pub(crate) fn html(&self, id: &str) -> &str {
        self.0
            .iter()
            .find(|region| region.id == id)
            .map_or("", |region| &region.html)
    }

    /// The regions of a page that differ from those in `before`; all of them if there was nothing before.
    pub(crate) fn changed_since<'a>(&'a self, page: Page, before: Option<&Self>) -> Vec<&'a Region> {
        let same = |region: &Region| before.is_some_and(|before| before.html(region.id) == region.html);
        let on_page = |region: &&Region| region.page.is_none_or(|its| its == page);
        self.0
            .iter()
            .filter(on_page)
            .filter(|region| !same(region))
            .collect()
    }
}

fn of_sink(sink: &Overview, known: &Known) -> askama::Result<Vec<Region>> {
    // These stand where others are live, so that they say themselves when they are old.
    let ledger = overview::LedgerLine::new(sink, known).render()?;
    let database = Database::new(sink).render()?;
    let dated = |html| Dated {
        age: known.sink_stale(),
        html,
    };
    Ok(vec![
        Region::new(Page::Overview, "rate-now", &overview::RateNow::new(sink))?,
        Region::new(Page::Overview, "rate-chart", &overview::RateChart::new(sink))?,
        Region::new(Page::Overview, "rate-table", &overview::RateTable::new(sink))?,
        Region::new(None, "ledger", &dated(ledger))?,
        Region::new(Page::Overview, "sources", &overview::Sources::new(sink))?,
        Region::new(Page::Overview, "nodes", &overview::Nodes::new(sink))?,
        Region::new(Page::Overview, "usage", &overview::Usage::new(sink))?,
        Region::new(Page::Overview, "database", &dated(database))?,
    ])
}

fn of_pipeline(known: &Known) -> askama::Result<Vec<Region>> {
    Ok(vec![
        Region::new(Page::Pipeline, "streams", &pipeline::Streams::new(known))?,
        Region::new(Page::Pipeline, "workers", &pipeline::Workers::new(known))?,
        Region::new(Page::Pipeline, "books", &pipeline::Books::new(known))?,
        Region::new(Page::Pipeline, "dead", &pipeline::Dead::new(known))?,
        Region::new(Page::Pipeline, "samples", &pipeline::Samples::new(known))?,
        Region::new(Page::Pipeline, "storage", &pipeline::Storage::new(known))?,
    ])
}

/// The sink's numbers, greyed and with their age if they are old.
#[derive(Template)]
#[template(
    source = r#"{% if let Some(age) = age %}<div class="old"><p class="hint">As of {{ age }} ago: the sink has not answered since.</p>
{{ html|safe }}</div>{% else %}{{ html|safe }}{% endif %}"#,
    ext = "html"
)]
struct Dated {
    age: Option<String>,
    /// Rendered, and so escaped.
    html: String,
}

/// Stands where numbers will be once the sink has answered.
#[derive(Template)]
#[template(source = r#"<p class="quiet">No answer from the sink yet.</p>"#, ext = "html")]
struct Unanswered;

/// The verdict in a few words, on every page.
#[derive(Template)]
#[template(
    source = r#"<a class="health {{ class }}" href="/">{{ words }}</a>"#,
    ext = "html"
)]
struct Health {
    class: &'static str,
    words: &'static str,
}

impl Health {
    fn new(status: &overview::Status) -> Self {
        Self {
            class: status.level.class(),
            words: status.headline,
        }
    }
}

/// The file everything is in.
#[derive(Template)]
#[template(path = "overview/database.html")]
struct Database<'a> {
    path: &'a str,
    size: format::Amount,
    log_size: format::Amount,
}

impl<'a> Database<'a> {
    fn new(overview: &'a Overview) -> Self {
        let database = &overview.database;
        Self {
            path: &database.path,
            size: format::bytes(database.bytes as f64),
            log_size: format::bytes(database.wal_bytes as f64),
        }
    }
}
