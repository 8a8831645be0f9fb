-- One row for each candidate. Numbers may have any spelling: the screening normalises them,
-- removes duplicates (it keeps the first row of a number, hence the ORDER BY), and records a
-- reason for each excluded row.
-- Every run sends to all rows of the query. A real daily campaign would select the customers of
-- the day (customer.invited_on = current_date); this sample selects all of them.
SELECT
    customer.id                              AS key,         -- every result has it
    customer.phone                           AS msisdn,
    customer.first_name,                                     -- columns that message.txt uses
    customer.points,
    store.name                               AS store,
    -- Optional: a row where this is true is excluded as "opted out in the warehouse". A WHERE would
    -- do the same, but the review would not count these rows.
    opt_out.customer_id IS NOT NULL          AS opted_out
FROM shop.customer
JOIN shop.store ON store.id = customer.store_id
LEFT JOIN shop.sms_opt_out AS opt_out ON opt_out.customer_id = customer.id
ORDER BY customer.points DESC NULLS LAST, customer.id
