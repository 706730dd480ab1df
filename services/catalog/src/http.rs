//! The routes of the catalogue.

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use contracts::{ProductId, Role};
use kernel::{Error, Result};
use std::time::Duration;
use web::{
    Answer, ApiResult, Caller, IfMatch, Json, Limit, MaybeKeyed, Op, Page, PageParams, Path, Policy, Query,
    Routes, once,
};

use crate::Catalog;
use crate::cache::Seen;
use crate::domain::Product;
use crate::pictures::{self, ImageKind, PictureName};
use crate::queries::{CategoryView, PriceView, ProductView, not_found, tag};
use crate::requests::{ListParams, ProductBody, ProductPatch, require_same_sku};
use crate::search::Audience;
use crate::store;
use crate::strays;
use crate::visits::Visit;

const SELLERS: Policy = Policy::Roles(&[Role::Seller, Role::Admin]);
/// The most that a picture may hold.
pub const IMAGE_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Boundaries and headers of the parts.
const MULTIPART_OVERHEAD: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Whoever keeps it asks before using it again; sellers are answered otherwise than shoppers.
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const BY_CALLER: HeaderValue = HeaderValue::from_static("authorization");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_SCRIPTS: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

pub fn routes() -> Routes<Catalog> {
    let upload = upload_image.layer(DefaultBodyLimit::max(IMAGE_BYTES_MAX + MULTIPART_OVERHEAD));
    Routes::new("catalog")
        .get(
            "/api/v1/products",
            Policy::Optional,
            Op::new("List or search products").query::<ListParams>().answers::<Page<ProductView>>(
                200,
                "A page: the newest first, or the best matches first. Drafts and archived ones for sellers only",
            ),
            list,
        )
        .post(
            "/api/v1/products",
            SELLERS,
            Op::new("Create a product")
                .body::<ProductBody>()
                .takes_idempotency_key()
                .answers::<ProductView>(201, "Created")
                .fails(409, "sku_taken"),
            create,
        )
        .get(
            "/api/v1/products/{id}",
            Policy::Optional,
            Op::new("Show a product")
                .answers::<ProductView>(200, "The product, with its ETag")
                .answers_nothing(304, "The caller has this version")
                .fails(404, "product_not_found"),
            show,
        )
        .post(
            "/api/v1/products/{id}/cart-additions",
            Policy::Optional,
            Op::new("Say that a shopper has put a product into a cart; it is counted, and changes nothing")
                .answers_nothing(204, "Counted")
                .fails(404, "product_not_found")
                .limit(Limit::per_caller("cart_additions", 120, 60)),
            count_cart_addition,
        )
        .put(
            "/api/v1/products/{id}",
            SELLERS,
            Op::new("Replace a product")
                .body::<ProductBody>()
                .needs_if_match()
                .answers::<ProductView>(200, "As it is now")
                .fails(404, "product_not_found")
                .fails(409, "product_archived")
                .fails(412, "stale_version"),
            replace,
        )
        .patch(
            "/api/v1/products/{id}",
            SELLERS,
            Op::new("Change a product")
                .body::<ProductPatch>()
                .needs_if_match()
                .answers::<ProductView>(200, "As it is now")
                .fails(404, "product_not_found")
                .fails(409, "product_archived")
                .fails(412, "stale_version"),
            change,
        )
        .delete(
            "/api/v1/products/{id}",
            SELLERS,
            Op::new("Archive a product")
                .needs_if_match()
                .answers_nothing(204, "Archived")
                .fails(404, "product_not_found")
                .fails(412, "stale_version"),
            archive,
        )
        .get(
            "/api/v1/products/{id}/prices",
            Policy::Optional,
            Op::new("Show what a product has cost")
                .query::<PageParams>()
                .answers::<Page<PriceView>>(200, "The newest price first")
                .fails(404, "product_not_found"),
            prices,
        )
        .get(
            "/api/v1/categories",
            Policy::Public,
            Op::new("List categories")
                .query::<PageParams>()
                .answers::<Page<CategoryView>>(200, "Categories of active products, with their numbers"),
            categories,
        )
        .get(
            "/api/v1/favourites",
            Policy::SignedIn,
            Op::new("List my favourites").answers::<Page<ProductView>>(200, "At most 10, the newest first"),
            favourites,
        )
        .put(
            "/api/v1/products/{id}/favourite",
            Policy::SignedIn,
            Op::new("Make a product a favourite of mine")
                .answers_nothing(204, "It is one")
                .fails(404, "product_not_found")
                .fails(409, "favourites_full"),
            add_favourite,
        )
        .delete(
            "/api/v1/products/{id}/favourite",
            Policy::SignedIn,
            Op::new("Take a product out of my favourites")
                .answers_nothing(204, "It is none")
                .fails(404, "not_found"),
            remove_favourite,
        )
        .post(
            "/api/v1/products/{id}/images",
            SELLERS,
            Op::new("Add a picture to a product")
                .raw_body::<ImageForm>("multipart/form-data")
                .answers::<ProductView>(201, "The product with the picture")
                .fails(404, "product_not_found")
                .fails(409, "images_full, product_archived")
                .fails(413, "image_too_large")
                .fails(415, "image_type_unsupported")
                .fails(503, "objects_unavailable")
                .limit(Limit::per_caller("images", 120, 60))
                .timeout(Duration::from_secs(60)),
            upload,
        )
        .delete(
            "/api/v1/products/{id}/images/{name}",
            SELLERS,
            Op::new("Take a picture from a product")
                .needs_if_match()
                .answers::<ProductView>(200, "The product without the picture")
                .fails(404, "product_not_found")
                .fails(409, "product_archived")
                .fails(412, "stale_version"),
            remove_image,
        )
        .get(
            "/api/v1/images/{name}",
            Policy::Public,
            Op::new("Show a picture")
                .answers_raw::<Vec<u8>>(200, "image/*", "The picture; it never changes")
                .answers_nothing(304, "The caller has it")
                .fails(404, "image_not_found")
                .fails(503, "objects_unavailable"),
            show_image,
        )
}

/// For operators: throws the index away and lets it fill again.
pub fn admin(catalog: Catalog) -> Router {
    Router::new()
        .route("/admin/catalog/search/rebuild", axum::routing::post(rebuild_search))
        .with_state(catalog)
}

async fn rebuild_search(State(catalog): State<Catalog>) -> ApiResult<StatusCode> {
    catalog.search.clear().await?;
    catalog.index_wake.notify_one();
    Ok(StatusCode::ACCEPTED)
}

fn audience(caller: Option<Caller>) -> Audience {
    match caller.map(|Caller(principal)| principal.role) {
        Some(Role::Seller | Role::Admin) => Audience::Staff,
        _ => Audience::Shoppers,
    }
}

// ---- products -------------------------------------------------------------------------------------------------

async fn list(
    State(catalog): State<Catalog>,
    caller: Option<Caller>,
    Query(params): Query<ListParams>,
) -> ApiResult<Json<Page<ProductView>>> {
    let (audience, page) = (audience(caller), params.page());
    let page = match params.q {
        Some(text) => catalog.search(audience, text, params.category, &page).await?,
        None => catalog.list(audience, params.category, &page).await?,
    };
    Ok(Json(page))
}

async fn show(
    State(catalog): State<Catalog>,
    caller: Option<Caller>,
    Path(id): Path<ProductId>,
    request: Request,
) -> ApiResult<Response> {
    let audience = audience(caller);
    let seen = match audience {
        Audience::Shoppers => catalog.seen_by_shoppers(id).await?,
        Audience::Staff => catalog.load(id, Audience::Staff).await?,
    };
    let Seen::Product(rendered) = seen else { return Err(not_found().into()) };
    if audience == Audience::Shoppers {
        catalog.visits.count(id, Visit::View);
    }
    let mut response = if web::not_modified(request.headers(), web::ETag(rendered.version)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(axum::body::Body::from(rendered.body));
        response.headers_mut().insert(header::CONTENT_TYPE, JSON);
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag(rendered.version));
    headers.insert(header::CACHE_CONTROL, REVALIDATE);
    headers.insert(header::VARY, BY_CALLER);
    Ok(response)
}

async fn count_cart_addition(
    State(catalog): State<Catalog>,
    Path(id): Path<ProductId>,
) -> ApiResult<StatusCode> {
    let Seen::Product(_) = catalog.seen_by_shoppers(id).await? else { return Err(not_found().into()) };
    catalog.visits.count(id, Visit::CartAddition);
    Ok(StatusCode::NO_CONTENT)
}

/// A product after a change, with its new tag.
fn changed(product: Product) -> Response {
    let etag = tag(product.version);
    ([(header::ETAG, etag)], Json(ProductView::from(product))).into_response()
}

async fn create(
    State(catalog): State<Catalog>,
    MaybeKeyed { key, body }: MaybeKeyed<ProductBody>,
) -> ApiResult<Answer> {
    let (sku, content) = body.into_parts();
    let db = catalog.db.clone();
    let answer = db
        .write(move |tx| -> Result<Answer> {
            let create = |tx: &mut db::Tx<'_>| {
                let product = catalog.create(tx, &sku, &content)?;
                let location = format!("/api/v1/products/{}", product.id);
                let version = product.version;
                Ok(Answer::json(201, &ProductView::from(product))?.located(location).tagged(version))
            };
            match &key {
                Some(key) => once(tx, key, catalog.clock.now(), create),
                None => create(tx),
            }
        })
        .await?;
    Ok(answer)
}

async fn replace(
    State(catalog): State<Catalog>,
    Path(id): Path<ProductId>,
    base: IfMatch,
    Json(body): Json<ProductBody>,
) -> ApiResult<Response> {
    let (sku, content) = body.into_parts();
    let product = catalog
        .change(id, move |catalog, tx| {
            catalog.revise(tx, id, base, |product| {
                require_same_sku(product, &sku)?;
                Ok(content.clone())
            })
        })
        .await?;
    Ok(changed(product))
}

async fn change(
    State(catalog): State<Catalog>,
    Path(id): Path<ProductId>,
    base: IfMatch,
    Json(patch): Json<ProductPatch>,
) -> ApiResult<Response> {
    let product = catalog
        .change(id, move |catalog, tx| {
            catalog.revise(tx, id, base, |product| Ok(patch.apply(&product.content)))
        })
        .await?;
    Ok(changed(product))
}

async fn archive(
    State(catalog): State<Catalog>,
    Path(id): Path<ProductId>,
    base: IfMatch,
) -> ApiResult<StatusCode> {
    catalog.change(id, move |catalog, tx| catalog.archive(tx, id, base)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn prices(
    State(catalog): State<Catalog>,
    caller: Option<Caller>,
    Path(id): Path<ProductId>,
    Query(page): Query<PageParams>,
) -> ApiResult<Json<Page<PriceView>>> {
    Ok(Json(catalog.prices(audience(caller), id, &page).await?))
}

async fn categories(
    State(catalog): State<Catalog>,
    Query(page): Query<PageParams>,
) -> ApiResult<Json<Page<CategoryView>>> {
    Ok(Json(catalog.categories(&page).await?))
}

// ---- favourites -----------------------------------------------------------------------------------------------

async fn favourites(
    State(catalog): State<Catalog>,
    Caller(caller): Caller,
) -> ApiResult<Json<Page<ProductView>>> {
    Ok(Json(catalog.favourites(caller.user_id).await?))
}

async fn add_favourite(
    State(catalog): State<Catalog>,
    Caller(caller): Caller,
    Path(id): Path<ProductId>,
) -> ApiResult<StatusCode> {
    let db = catalog.db.clone();
    db.write(move |tx| catalog.add_favourite(tx, caller.user_id, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_favourite(
    State(catalog): State<Catalog>,
    Caller(caller): Caller,
    Path(id): Path<ProductId>,
) -> ApiResult<StatusCode> {
    catalog.db.write(move |tx| store::remove_favourite(tx, caller.user_id, id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

// ---- pictures -------------------------------------------------------------------------------------------------

/// The form of an upload, for the documentation.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "describes the form; the parts are read one by one")]
struct ImageForm {
    /// JPEG, PNG, WebP or GIF, at most 5 MiB.
    image: Vec<u8>,
}

fn too_large() -> Error {
    let detail = format!("a picture may hold at most {IMAGE_BYTES_MAX} bytes");
    Error::invalid("image_too_large", detail).with_status(413)
}

fn unreadable(error: &axum::extract::multipart::MultipartError) -> Error {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large();
    }
    Error::invalid("multipart_invalid", "the form could not be read").with_status(400)
}

/// The one part called `image`.
async fn read_image(request: Request, catalog: &Catalog) -> Result<Bytes> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let announced = announced.and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > IMAGE_BYTES_MAX + MULTIPART_OVERHEAD) {
        return Err(too_large());
    }
    let mut form = Multipart::from_request(request, catalog).await.map_err(|_| {
        Error::invalid("unsupported_media_type", "send multipart/form-data with a boundary").with_status(415)
    })?;
    let mut image: Option<BytesMut> = None;
    while let Some(mut part) = form.next_field().await.map_err(|error| unreadable(&error))? {
        if part.name() != Some("image") || image.is_some() {
            let detail = "send one part, called image";
            return Err(Error::invalid("multipart_invalid", detail).with_status(400));
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = part.chunk().await.map_err(|error| unreadable(&error))? {
            if bytes.len() + chunk.len() > IMAGE_BYTES_MAX {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        image = Some(bytes);
    }
    let missing = || Error::invalid("multipart_invalid", "send one part, called image").with_status(400);
    image.map(BytesMut::freeze).ok_or_else(missing)
}

async fn upload_image(
    State(catalog): State<Catalog>,
    Path(id): Path<ProductId>,
    request: Request,
) -> ApiResult<Response> {
    // Nothing is stored for a product that is not there.
    if catalog.load(id, Audience::Staff).await? == Seen::Nothing {
        return Err(not_found().into());
    }
    let bytes = read_image(request, &catalog).await?;
    let kind = ImageKind::sniff(&bytes).ok_or_else(|| {
        Error::invalid("image_type_unsupported", "a picture is JPEG, PNG, WebP or GIF").with_status(415)
    })?;
    let name = PictureName::of(kind, &bytes);
    let now = catalog.clock.now();
    let name = catalog.db.write(move |tx| strays::announce(tx, &name, now)).await?;
    pictures::keep(catalog.objects.as_ref(), &name, bytes).await?;
    let product = catalog.change(id, move |catalog, tx| catalog.add_image(tx, id, name.as_str())).await?;
    Ok((StatusCode::CREATED, changed(product)).into_response())
}

async fn remove_image(
    State(catalog): State<Catalog>,
    Path((id, name)): Path<(ProductId, String)>,
    base: IfMatch,
) -> ApiResult<Response> {
    let product = catalog.change(id, move |catalog, tx| catalog.remove_image(tx, id, base, &name)).await?;
    Ok(changed(product))
}

async fn show_image(
    State(catalog): State<Catalog>,
    Path(name): Path<String>,
    request: Request,
) -> ApiResult<Response> {
    let missing = || Error::not_found("image_not_found", "there is no such picture");
    let name = PictureName::parse(&name).ok_or_else(missing)?;
    let etag = HeaderValue::from_str(&format!("\"{}\"", name.as_str())).map_err(Error::internal)?;
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|wanted| *wanted == etag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        pictures::find(catalog.objects.as_ref(), &name).await?.ok_or_else(missing)?.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(name.kind().media_type()));
    headers.insert(header::ETAG, etag);
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(HeaderName::from_static("content-security-policy"), NO_SCRIPTS);
    Ok(response)
}
