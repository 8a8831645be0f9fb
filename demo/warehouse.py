"""The sample warehouse: schema `shop`, with customers' data as untidy as in reality.

    python -m demo.warehouse postgresql://user@host/database

The same seed gives the same data. All customers are invented: French mobiles are from the range
that ARCEP reserves for fiction (+33 6 39 98 00 00 to 99 99), landlines, British and American
numbers from such ranges too. Numbers without such a range are made up and marked so.
"""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg
from psycopg import sql

SEED = 20260321
MOST_CUSTOMERS = 10_000  # the range for fiction has so many numbers
MARK = "The sample warehouse of the SMS campaigns: filling it again replaces all of it"
FIRST_DAY = date(2026, 1, 1)

TABLES = """
CREATE TABLE shop.store (
    id       integer PRIMARY KEY,
    name     text NOT NULL
);
CREATE TABLE shop.customer (
    id          integer PRIMARY KEY,
    first_name  text,
    last_name   text,
    phone       text,
    store_id    integer NOT NULL REFERENCES shop.store,
    points      integer,
    joined_on   date NOT NULL
);
CREATE TABLE shop.sms_opt_out (
    customer_id  integer PRIMARY KEY REFERENCES shop.customer,
    said_on      date NOT NULL,
    said_to      text NOT NULL
);
CREATE TABLE shop.orders (
    id           integer PRIMARY KEY,
    customer_id  integer NOT NULL REFERENCES shop.customer,
    ordered_on   date NOT NULL,
    amount       numeric(8, 2) NOT NULL
);
CREATE TABLE shop.parcel (
    id           text PRIMARY KEY,
    order_id     integer NOT NULL REFERENCES shop.orders,
    customer_id  integer NOT NULL REFERENCES shop.customer,
    store_id     integer NOT NULL REFERENCES shop.store,
    status       text NOT NULL CHECK (status IN ('travelling', 'waiting', 'fetched')),
    arrived_on   date,
    keep_until   date,
    pickup_code  text
);
COMMENT ON COLUMN shop.customer.phone IS 'As people typed it: screening makes sense of it';
COMMENT ON TABLE shop.sms_opt_out IS 'Who refused marketing before, in a shop or on the phone';
"""

STORES = (
    *("Paris Bastille", "Lyon Part-Dieu", "Marseille Prado", "Lille Centre", "Nantes Graslin"),
    *("Bordeaux Tourny", "Rennes République", "Orléans", "Besançon", "Saint-Étienne"),
)
FIRST_NAMES = (
    *("Léa", "Chloé", "Zoé", "Inès", "Éloïse", "Anaïs", "Maëlle", "Agnès", "Hélène", "Cécile"),
    *("Marie", "Camille", "Louise", "Jade", "Emma", "Sarah", "Nour", "Lucie", "Manon", "Alice"),
    *("François", "Gaël", "Noël", "Jérôme", "Loïc", "Théo", "Léo", "Raphaël", "Benoît", "André"),
    *("Hugo", "Louis", "Gabriel", "Adam", "Paul", "Mohamed", "Karim", "Jean-Luc", "Marc", "Yann"),
    *("Lætitia", "Mikołaj", "Søren", "Zoë 🌸", "Tom 🚀", "D'Arcy", "Marie-Françoise"),
)
LAST_NAMES = (
    *("Martin", "Bernard", "Lefèvre", "Garçon", "Müller", "N'Guessan", "Cœurdevey", "Benoît"),
    *("Petit", "Moreau", "Ben Salah", "Le Goff", "Nuñez", "Da Silva", "O'Neill", "Roux"),
)
MARIE = "Marie-Antoinette Joséphine Charlotte de la Rochefoucauld-Montmorency"  # no room in 160

NARROW, WIDE, ZERO_WIDTH, LEFT_TO_RIGHT = "\u202f", "\u00a0", "\u200b", "\u200e"


def _pairs(number: str, between: str) -> str:
    return between.join(number[at : at + 2] for at in range(0, len(number), 2))


# Notations of a French mobile, from its nine digits after +33 ("639980000").
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda nine: f"0{nine}",
    lambda nine: _pairs(f"0{nine}", " "),
    lambda nine: _pairs(f"0{nine}", "."),
    lambda nine: _pairs(f"0{nine}", "-"),
    lambda nine: _pairs(f"0{nine}", WIDE),
    lambda nine: _pairs(f"0{nine}", NARROW),
    lambda nine: f"+33{nine}",
    lambda nine: f"+33 {nine[0]} {_pairs(nine[1:], ' ')}",
    lambda nine: f"+33 (0){nine[0]} {_pairs(nine[1:], ' ')}",
    lambda nine: f"+33(0){nine}",
    lambda nine: f"0033{nine}",
    lambda nine: f"00 33 {nine[0]} {_pairs(nine[1:], ' ')}",
    lambda nine: f"33{nine}",
    lambda nine: f"{ZERO_WIDTH}+33{nine}{LEFT_TO_RIGHT}",
    lambda nine: f"  {_pairs(f'0{nine}', ' ')} ",
)

GARBAGE = (
    *("n/a", "inconnu", "voir fiche", "06", "0", "-", "null", "00000000000", "06 39 98", "+"),
    *("client@example.com", "06 39 98 00 00 00 00", "+33 6 39 98", "06 39 98 OO OO", "#REF!"),
)


@dataclass(frozen=True)
class Customer:
    """A row of shop.customer, and its kind."""

    id: int
    first_name: str | None
    last_name: str
    phone: str | None
    store_id: int
    points: int | None
    joined_on: date
    kind: str

    @property
    def row(self) -> tuple[Any, ...]:
        """The table's row."""
        return (
            *(self.id, self.first_name, self.last_name, self.phone),
            *(self.store_id, self.points, self.joined_on),
        )


@dataclass(frozen=True)
class Filled:
    """The counts of a sample warehouse: rows by table, and customers by kind."""

    rows: Mapping[str, int]
    customers: Mapping[str, int]

    def __str__(self) -> str:
        tables = ", ".join(f"{count:,} {table}" for table, count in self.rows.items())
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.customers.items())
        return f"schema shop: {tables}\ncustomers: {kinds}"


def fill(connection: psycopg.Connection[Any], customers: int = 5_000, seed: int = SEED) -> Filled:
    """Replace schema `shop` and fill it, in one transaction; the same seed gives the same data."""
    if not 1 <= customers <= MOST_CUSTOMERS:
        raise ValueError(f"customers must be between 1 and {MOST_CUSTOMERS}")
    chance = random.Random(seed)
    people = list(_people(customers, chance))
    opt_outs = [
        (who.id, _day(chance, 75), chance.choice(("shop", "phone", "letter")))
        for who in people
        if who.kind == "opted out"
    ]
    orders, parcels = _orders_and_parcels(people, chance)
    tables: dict[str, list[tuple[Any, ...]]] = {
        "store": list(enumerate(STORES, start=1)),
        "customer": [who.row for who in people],
        "sms_opt_out": opt_outs,
        "orders": orders,
        "parcel": parcels,
    }
    with connection.transaction():
        _replace_schema(connection)
        for table, rows in tables.items():
            _copy(connection, table, rows)
    kinds = Counter(who.kind for who in people)
    return Filled({name: len(rows) for name, rows in tables.items()}, dict(kinds.most_common()))


# Customers of each kind in a thousand; the others are ordinary, with a valid mobile.
SHARES = {
    "the same person again": 30,
    "opted out": 40,
    "empty": 25,
    "landline": 25,
    "garbage": 15,
    "overseas": 15,
    "overseas written as +33": 5,
    "foreign": 15,
    "float": 12,
    "short or premium": 6,
    "without a first name": 15,
    "without points": 5,
    "name too long": 2,
}


def _people(customers: int, chance: random.Random) -> Iterator[Customer]:
    """The customers; a repeated one comes somewhere after the first."""
    nines = [f"63998{last:04}" for last in chance.sample(range(10_000), customers)]
    kinds = [kind for kind, share in SHARES.items() for _ in range(customers * share // 1000)]
    kinds += ["ordinary"] * (customers - len(kinds))
    chance.shuffle(kinds)
    known: list[tuple[Customer, str]] = []
    for number, (kind, nine) in enumerate(zip(kinds, nines, strict=True), start=1):
        if kind == "the same person again" and known:
            who, nine = chance.choice(known)
            yield _again(who, nine, number, chance)
            continue
        who = Customer(
            id=number,
            first_name=_first_name(kind, chance),
            last_name=chance.choice(LAST_NAMES),
            phone=_phone(kind, nine, chance),
            store_id=chance.randint(1, len(STORES)),
            points=None if kind == "without points" else chance.randint(10, 199) * 10,
            joined_on=_day(chance, -2000),
            kind="ordinary" if kind == "the same person again" else kind,
        )
        if who.kind == "ordinary":
            known.append((who, nine))
        yield who


def _again(who: Customer, nine: str, number: int, chance: random.Random) -> Customer:
    """The same person again: the name in capitals, the number in another notation."""
    others = [spelling(nine) for spelling in SPELLINGS if spelling(nine) != who.phone]
    return Customer(
        id=number,
        first_name=(who.first_name or "").upper(),
        last_name=who.last_name.upper(),
        phone=chance.choice(others),
        store_id=who.store_id,
        points=chance.randint(10, 199) * 10,
        joined_on=_day(chance, -300),
        kind="the same person again",
    )


def _first_name(kind: str, chance: random.Random) -> str | None:
    match kind:
        case "without a first name":
            return None
        case "name too long":
            return MARIE
        case _:
            return chance.choice(FIRST_NAMES)


def _phone(kind: str, nine: str, chance: random.Random) -> str | None:
    """A phone number of a customer of this kind."""
    few = chance.randint(0, 99)
    match kind:
        case "empty":
            return chance.choice((None, "", " ", WIDE))
        case "garbage":
            return chance.choice(GARBAGE)
        case "landline":  # ARCEP's blocks for fiction
            block = chance.choice(("19900", "26191", "35301", "46571", "53649"))
            return chance.choice(SPELLINGS)(f"{block}{few:02}{chance.randint(0, 99):02}")
        case "overseas":  # made up: Réunion, Guadeloupe, Martinique
            start = chance.choice(("+262 692 ", "+590 690 ", "+596 696 ", "0692 ", "0690 "))
            return f"{start}00 00 {few:02}"
        case "overseas written as +33":  # made up
            return f"+336{chance.choice(('92', '90', '96'))}0000{few:02}"
        case "foreign":  # Ofcom's and the North American block for fiction
            return chance.choice((f"+44 7700 9000{few:02}", f"+1 202-555-01{few:02}"))
        case "float":  # what a spreadsheet leaves of a number
            return chance.choice((f"33{nine}.0", f"{float('33' + nine):.2e}", "3.36e10"))
        case "short or premium":  # made up
            return chance.choice((f"0899 00 00 {few:02}", f"36{few:02}", f"0800 00 00 {few:02}"))
        case _:
            return chance.choice(SPELLINGS)(nine)


Rows = list[tuple[Any, ...]]


def _orders_and_parcels(people: Iterable[Customer], chance: random.Random) -> tuple[Rows, Rows]:
    """Some orders for most customers, and a parcel for some of the orders."""
    orders: Rows = []
    parcels: Rows = []
    for who in people:
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            ordered = _day(chance, 75)
            order = len(orders) + 1
            orders.append((order, who.id, ordered, round(chance.uniform(9, 250), 2)))
            if chance.random() < 0.15:
                parcels.append(_parcel(who, order, ordered, chance))
    return orders, parcels


def _parcel(who: Customer, order: int, ordered: date, chance: random.Random) -> tuple[Any, ...]:
    status = chance.choice(("travelling", "waiting", "waiting", "fetched"))
    arrived = None if status == "travelling" else ordered + timedelta(days=chance.randint(2, 5))
    kept = arrived and arrived + timedelta(days=14)
    code = "".join(chance.choices("23456789ABCDEFGHJKMNPQRSTUVWXYZ", k=5))
    return (f"P{order:07}", order, who.id, who.store_id, status, arrived, kept, code)


def _day(chance: random.Random, within: int) -> date:
    """A day at most `within` days after (or, below zero, before) the first of 2026."""
    return FIRST_DAY + timedelta(days=chance.randint(*sorted((0, within))))


def _replace_schema(connection: psycopg.Connection[Any]) -> None:
    """Drop an earlier sample. Raises RuntimeError for a schema `shop` that is not the sample."""
    found = connection.execute(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'shop'"
    ).fetchone()
    if found and found[0] != MARK:
        raise RuntimeError(
            "this database has a schema `shop` that is not the sample's: choose another database"
        )
    connection.execute("DROP SCHEMA IF EXISTS shop CASCADE; CREATE SCHEMA shop;" + TABLES)
    connection.execute(sql.SQL("COMMENT ON SCHEMA shop IS {}").format(MARK))


def _copy(connection: psycopg.Connection[Any], table: str, rows: Rows) -> None:
    into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier("shop", table))
    with connection.cursor().copy(into) as copy:
        for row in rows:
            copy.write_row(row)
    connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier("shop", table)))


def main(arguments: list[str]) -> int:
    """Fill the database at a URL of libpq or SQLAlchemy."""
    if len(arguments) != 1:
        print("usage: python -m demo.warehouse postgresql://user@host/database", file=sys.stderr)
        return 2
    with psycopg.connect(arguments[0].replace("+psycopg", "", 1), autocommit=True) as connection:
        print(fill(connection))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
