//! Which handler answers which request.

use std::fmt;
use std::io;
use std::rc::Rc;

use http::Method;

use super::exchange::Exchange;

/// Answers a request.
///
/// It may suspend as long as the answer takes. An error ends the connection; when nothing was answered yet, the client
/// is told first: what a body's reader reports in its own words, anything else as a failure of the server.
pub type Handler = dyn Fn(&mut Exchange<'_, '_>) -> io::Result<()>;

/// Handlers by path and method.
///
/// A path may hold parameters, `/api/v1/clients/{id}`, and a last one that takes the rest, `/{*path}`. Of several
/// paths that fit, the most literal one is taken. `HEAD` goes to the handler of `GET`, `OPTIONS` is answered here.
#[derive(Default)]
pub struct Router {
    /// Places in `routes` by path.
    paths: matchit::Router<usize>,
    routes: Vec<Route>,
}

/// What is at one path.
pub(super) struct Route {
    pattern: String,
    handlers: Vec<(Method, Rc<Handler>)>,
    /// Answers the methods that have no handler.
    pub(super) otherwise: Option<Rc<Handler>>,
    /// Pages of other origins may read what this answers.
    pub(super) is_public: bool,
}

impl Router {
    /// One without routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has `handler` answer requests of this method and path.
    ///
    /// # Panics
    ///
    /// When the pattern is malformed, or takes the place of another: a mistake in the program.
    pub fn on(
        &mut self,
        method: Method,
        pattern: &str,
        handler: impl Fn(&mut Exchange<'_, '_>) -> io::Result<()> + 'static,
    ) -> &mut Self {
        let route = self.route(pattern);
        assert!(
            route.handlers.iter().all(|(known, _)| *known != method),
            "{method} {pattern} is there twice"
        );
        route.handlers.push((method, Rc::new(handler)));
        self
    }

    /// [`Self::on`] for `GET`, and so for `HEAD`.
    ///
    /// # Panics
    ///
    /// As [`Self::on`].
    pub fn get(
        &mut self,
        pattern: &str,
        handler: impl Fn(&mut Exchange<'_, '_>) -> io::Result<()> + 'static,
    ) -> &mut Self {
        self.on(Method::GET, pattern, handler)
    }

    /// Has `handler` answer requests of this path whose method has no handler, `OPTIONS` aside; it finds the methods that
    /// have one in [`Exchange::allowed`]. Without any, it answers all requests.
    ///
    /// # Panics
    ///
    /// When the pattern is malformed, or takes the place of another: a mistake in the program.
    pub fn otherwise(
        &mut self,
        pattern: &str,
        handler: impl Fn(&mut Exchange<'_, '_>) -> io::Result<()> + 'static,
    ) -> &mut Self {
        self.route(pattern).otherwise = Some(Rc::new(handler));
        self
    }

    /// All patterns, and the methods that have a handler there.
    pub fn routes(&self) -> impl Iterator<Item = (&str, Vec<&Method>)> {
        self.routes.iter().map(|route| {
            let methods = route.handlers.iter().map(|(method, _)| method);
            (&*route.pattern, methods.collect())
        })
    }

    /// Lets the scripts of pages from anywhere use this path, without credentials: for streams and what plays them.
    ///
    /// # Panics
    ///
    /// When the pattern is malformed.
    pub fn make_public(&mut self, pattern: &str) -> &mut Self {
        self.route(pattern).is_public = true;
        self
    }

    fn route(&mut self, pattern: &str) -> &mut Route {
        let known = self.routes.iter().position(|route| route.pattern == pattern);
        let at = known.unwrap_or_else(|| {
            let at = self.routes.len();
            if let Err(error) = self.paths.insert(pattern, at) {
                panic!("the pattern {pattern} is wrong: {error}");
            }
            self.routes.push(Route {
                pattern: pattern.into(),
                handlers: Vec::new(),
                otherwise: None,
                is_public: false,
            });
            at
        });
        self.routes.get_mut(at).expect("routes are never taken away")
    }

    /// The route of a path, and the values of its parameters.
    pub(super) fn find(&self, path: &str) -> Option<(&Route, Vec<(String, String)>)> {
        let found = self.paths.at(path).ok()?;
        let params = found.params.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Some((self.routes.get(*found.value)?, params))
    }
}

impl Route {
    pub(super) fn handler(&self, method: &Method) -> Option<&Rc<Handler>> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.handlers.iter().find(|(known, _)| known == method).map(|(_, handler)| handler)
    }

    /// Whether nothing but [`Router::otherwise`] answers here.
    pub(super) const fn has_no_method(&self) -> bool {
        self.handlers.is_empty()
    }

    /// The value of `Allow`.
    pub(super) fn allowed(&self) -> String {
        let mut allowed = vec!["OPTIONS"];
        for (method, _) in &self.handlers {
            allowed.push(method.as_str());
            if method == Method::GET {
                allowed.push("HEAD");
            }
        }
        allowed.join(", ")
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.routes.iter().map(|route| &route.pattern)).finish()
    }
}
