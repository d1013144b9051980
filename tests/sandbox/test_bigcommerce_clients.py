"""Tests of the stand-in of BigCommerce with the vendor's own Python client: each call that runs is a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bigcommerce.api
import bigcommerce.connection
import bigcommerce.exception
import pytest
import requests
from bigcommerce.resources import orders as order_resources
from requests.adapters import HTTPAdapter

from shopping import Shop, open_shop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZES = {"customers": 260, "orders": 30, "products": 8}
ADA = {"email": "ada@example.com", "first_name": "Ada", "last_name": "Lovelace"}
ORDER = {
    "billing_address": {"first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com"},
    "products": [{"name": "Wrap", "quantity": 2, "price_ex_tax": 5}],
}
COUPON = {"name": "New", "code": "NEW", "type": "free_shipping", "amount": "0.0000"}
CERTIFICATE = {"to_name": "A", "to_email": "a@example.com", "from_name": "B", "amount": "5.0000"}


class Plain(HTTPAdapter):
    """Sends what the client wants to send by https as http."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        """As the adapter does, without TLS."""
        assert request.url is not None
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **options)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """A shop of this module."""
    with open_shop(SIZES) as opened:
        yield opened


@pytest.fixture
def connect(shop: Shop) -> Iterator[Callable[..., Any]]:
    """Makes the client's connections: to a version, with a token."""
    made = []

    def connection(version: str = "v2", token: str | None = None, **options: Any) -> Any:
        host = shop.url.removeprefix("http://")
        full = shop.connections["full"]
        one = bigcommerce.connection.OAuthConnection(
            "client",
            full["store_id"],
            full["access_token"] if token is None else token,
            host=host,
            api_path=f"/stores/{{}}/{version}/{{}}",
            **options,
        )
        one._session.mount("https://", Plain())
        made.append(one)
        return one

    yield connection
    for one in made:
        one._session.close()


@pytest.fixture
def api(connect: Callable[..., Any]) -> Any:
    """The client, for v2."""
    client = bigcommerce.api.BigcommerceApi(client_id="client", store_hash="sandbox1", access_token="x")
    client.connection._session.close()
    client.connection = connect()
    return client


READS: dict[str, Callable[[Any], Any]] = {
    "Orders.all": lambda api: len(api.Orders.all()) == 30,
    "Orders.all(limit, page)": lambda api: [row.id for row in api.Orders.all(limit=7, page=5)] == [128, 129],
    "Orders.all(min_id)": lambda api: [row.id for row in api.Orders.all(min_id=127)] == [127, 128, 129],
    "Orders.all past the end": lambda api: without(api.Orders.all(page=99)),
    "Orders.iterall": lambda api: [row.id for row in api.Orders.iterall()] == list(range(100, 130)),
    "Orders.get": lambda api: api.Orders.get(100).total_inc_tax.endswith("00"),
    "Orders.count": lambda api: api.Orders.count() == 30,
    "Orders().products": lambda api: api.Orders.get(100).products()[0].order_id == 100,
    "Orders().products(id)": lambda api: api.Orders.get(100).products(1).id == 1,
    "Orders().shipping_addresses": lambda api: api.Orders.get(100).shipping_addresses()[0].order_id == 100,
    "Orders().shipping_addresses(id)": lambda api: api.Orders.get(100).shipping_addresses(1).id == 1,
    "Orders().coupons": lambda api: api.Orders.get(100).coupons()[0].code == "TEN",
    "Orders().coupons(id)": lambda api: api.Orders.get(100).coupons(1).id == 1,
    "Orders().messages": lambda api: api.Orders.get(100).messages()[0].subject == "When?",
    "Orders().messages(id)": lambda api: api.Orders.get(100).messages(1).id == 1,
    "Orders().taxes": lambda api: api.Orders.get(100).taxes()[0].order_id == 100,
    "Orders().taxes(id)": lambda api: api.Orders.get(100).taxes(1).id == 1,
    "Orders().shipments of none": lambda api: without(api.Orders.get(unshipped(api)).shipments()),
    "Orders().shipments": lambda api: api.Orders.get(shipped(api)).shipments()[0].tracking_number.startswith("TRACK"),
    "OrderProducts.count": lambda api: order_resources.OrderProducts.count(100, connection=api.connection) == 1,
    "OrderShipments.count": lambda api: order_resources.OrderShipments.count(shipped(api), connection=api.connection),
    "OrderShippingAddresses.count": lambda api: (
        order_resources.OrderShippingAddresses.count(100, connection=api.connection) == 1
    ),
    "OrderStatuses.all": lambda api: len(api.OrderStatuses.all()) == 15,
    "Customers.all": lambda api: len(api.Customers.all()) == 50,
    "Customers.iterall": lambda api: len({row.id for row in api.Customers.iterall()}) == 260,
    "Customers.get": lambda api: api.Customers.get(3).id == 3,
    "Customers.count": lambda api: api.Customers.count() == 260,
    "Customers().addresses": lambda api: api.Customers.get(1).addresses()[0].customer_id == 1,
    "Customers().addresses(id)": lambda api: api.Customers.get(1).addresses(1).id == 1,
    "CustomerGroups.all": lambda api: len(api.CustomerGroups.all()) == 3,
    "CustomerGroups.get": lambda api: api.CustomerGroups.get(2).name == "Wholesale",
    "CustomerGroups.count": lambda api: api.CustomerGroups.count() == 3,
    "Coupons.all": lambda api: [row.code for row in api.Coupons.all()] == ["TEN", "FIVE", "送料無料"],
    "Coupons.get": lambda api: api.Coupons.get(1).code == "TEN",
    "Coupons.count": lambda api: api.Coupons.count() == 3,
    "Banners.all": lambda api: len(api.Banners.all()) == 2,
    "Banners.get": lambda api: api.Banners.get(1).name == "Welcome",
    "GiftCertificates.all": lambda api: len(api.GiftCertificates.all()) == 3,
    "GiftCertificates.get": lambda api: api.GiftCertificates.get(1).amount == "25.0000",
    "Store.all": lambda api: api.Store.all().timezone["name"] == "Asia/Tokyo",
    "Time.all": lambda api: api.Time.all().time > 1_700_000_000,
}
#: A collection of the client, what is made, what is changed.
WRITES = {
    "Orders": (ORDER, {"staff_notes": "changed"}),
    "Customers": (ADA, {"notes": "changed"}),
    "CustomerGroups": ({"name": "New"}, {"name": "Newer"}),
    "Coupons": (COUPON, {"name": "Newer"}),
    "Banners": ({"name": "New", "content": "x"}, {"content": "y"}),
    "GiftCertificates": (CERTIFICATE, {"message": "changed"}),
}


def without(found: Any) -> bool:
    """Whether the client was told 204: it makes of it an object without any field."""
    return not isinstance(found, list) and set(found) <= {"_connection"}


def shipped(api: Any) -> int:
    """An order that was sent."""
    return int(next(row.id for row in api.Orders.all() if row.items_shipped))


def unshipped(api: Any) -> int:
    """An order that wasn't."""
    return int(next(row.id for row in api.Orders.all() if not row.items_shipped))


@pytest.mark.parametrize("call", READS)
def test_the_client_reads(api: Any, call: str) -> None:
    """[CLIENT bigcommerce 0.23.4]."""
    assert READS[call](api)


@pytest.mark.parametrize("name", WRITES)
def test_the_client_creates_updates_and_deletes(name: str) -> None:
    """[CLIENT bigcommerce 0.23.4] in a shop of the test's own."""
    given, change = WRITES[name]
    with open_shop({"customers": 3, "orders": 3, "products": 3}) as shop:
        client = bigcommerce.api.BigcommerceApi(
            client_id="client", store_hash="sandbox1", access_token=shop.connections["full"]["access_token"]
        )
        client.connection.host = shop.url.removeprefix("http://")
        client.connection._session.mount("https://", Plain())
        resource = getattr(client, name)
        made = resource.create(**given)
        assert made.update(**change).items() >= change.items()
        found = resource.get(made.id)
        assert found.items() >= change.items()
        found.delete()
        if name == "Orders":
            assert resource.get(made.id).is_deleted is True
        else:
            with pytest.raises(bigcommerce.exception.ClientRequestException) as caught:
                resource.get(made.id)
            assert caught.value.status_code == 404
        assert resource.all()
        resource.delete_all()
        assert without(resource.all()) or (name == "Orders" and all(row.is_deleted for row in resource.all()))
        client.connection._session.close()


def test_the_client_ships_an_order(connect: Callable[..., Any], shop: Shop) -> None:
    """[CLIENT bigcommerce 0.23.4] OrderShipments.create, update, delete."""
    connection = connect()
    made = order_resources.Orders.create(connection=connection, **ORDER)
    line = made.products()[0]
    items = [{"order_product_id": line.id, "quantity": 1}]
    shipments = order_resources.OrderShipments
    sent = shipments.create(made.id, connection=connection, order_address_id=line.order_address_id, items=items)
    assert sent.update(tracking_number="T9").tracking_number == "T9"
    shipments.get(made.id, sent.id, connection=connection).delete()
    assert without(shipments.all(made.id, connection=connection))
    shop.http.delete(f"{shop.url}/_sandbox/records/orders?ids={made.id}")


def test_the_clients_connection_works_with_v3(connect: Callable[..., Any], shop: Shop) -> None:
    """[CLIENT bigcommerce 0.23.4] get, create, update, put, post, delete on a connection to /v3/."""
    connection = connect("v3")
    page = connection.get("catalog/products", limit=3, include="variants")
    assert [row["id"] for row in page["data"]] == [101, 102, 103]
    assert page["meta"]["pagination"]["total"] == 8
    made = connection.create("catalog/products", {"name": "Lamp", "type": "physical", "weight": 1, "price": 20})["data"]
    assert connection.update("catalog/products", made["id"], {"price": 21.5})["data"]["price"] == 21.5
    assert connection.get("catalog/products", made["id"])["data"]["calculated_price"] == 21.5
    assert connection.delete("catalog/products", made["id"]) == {}
    customer = connection.post("customers", [ADA])["data"][0]
    assert connection.put("customers", [{"id": customer["id"], "notes": "x"}])["data"][0]["notes"] == "x"
    assert connection.get("customers", **{"id:in": customer["id"]})["data"][0]["email"] == "ada@example.com"
    assert connection.delete(f"customers?id:in={customer['id']}") == {}
    assert connection.get("customers", **{"id:in": customer["id"]})["data"] == []


def test_the_client_reads_the_quota_and_waits_for_it(connect: Callable[..., Any], shop: Shop) -> None:
    """[CLIENT bigcommerce 0.23.4] the four headers as numbers; its own management of the quota."""
    called = []
    management = {"min_requests_remaining": 10**6, "wait": False, "callback_function": lambda: called.append(1)}
    connection = connect(rate_limiting_management=management)
    connection.get("time")
    assert sorted(connection.rate_limit) == [
        "ms_until_reset",
        "requests_quota",
        "requests_remaining",
        "window_size_ms",
    ]
    assert connection.rate_limit["requests_quota"] == 20_000
    assert connection.rate_limit["window_size_ms"] == 30_000
    assert called == [1]


def test_the_clients_exceptions_are_the_right_ones(connect: Callable[..., Any], shop: Shop) -> None:
    """[CLIENT bigcommerce 0.23.4] one for each class of status."""
    connection = connect()
    for status, path in ((404, "orders/999999"), (400, "orders?limit=x")):
        with pytest.raises(bigcommerce.exception.ClientRequestException) as refused:
            connection.get(path)
        assert refused.value.status_code == status
    with pytest.raises(bigcommerce.exception.ClientRequestException) as wrong:
        connect(token="wrong").get("orders")
    assert wrong.value.status_code == 401
    with pytest.raises(bigcommerce.exception.ClientRequestException) as forbidden:
        connect(token=shop.connections["customers_only"]["access_token"]).get("orders")
    assert forbidden.value.status_code == 403
    shop.http.put(shop.url + "/_sandbox/faults", json={"next": ["429", "503", "500"]})
    with pytest.raises(bigcommerce.exception.RateLimitingException) as limited:
        connection.get("orders")
    assert limited.value.retry_after == "100"
    for status in (503, 500):
        with pytest.raises(bigcommerce.exception.ServerException) as broken:
            connection.get("orders")
        assert broken.value.status_code == status
    answer = connection._run_method("GET", "orders", query={"page": 99})
    with pytest.raises(bigcommerce.exception.EmptyResponseWarning):
        connection._handle_response("orders", answer, suppress_empty=False)


def test_the_client_exchanges_a_code_for_a_token(connect: Callable[..., Any], shop: Shop) -> None:
    """[CLIENT bigcommerce 0.23.4] fetch_token."""
    app = shop.http.post(shop.url + "/_sandbox/codes", json={}).json()
    connection = connect(token="")
    connection.client_id = app["client_id"]
    url = shop.url.replace("http://", "https://") + "/oauth2/token"
    told = connection.fetch_token(
        app["client_secret"], app["code"], app["context"], app["scope"], "https://app.example.com/cb", url
    )
    assert told["context"] == "stores/sandbox1"
    assert connection.get("orders", limit=1)[0]["id"] == 100
