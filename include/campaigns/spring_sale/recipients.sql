-- One row for each person we might write to. Numbers may be as untidy as they are: screening
-- reads every spelling, drops duplicates (the first row of a number wins, hence the ORDER BY),
-- and tells for each row left out why it was.
-- Whoever this returns is written to each time it runs: a daily campaign of your own would ask
-- whose day it is (customer.invited_on = current_date); the sample asks for all, to show them.
SELECT
    customer.id                              AS key,         -- comes back with every result
    customer.phone                           AS msisdn,
    customer.first_name,                                     -- columns that message.txt names
    customer.points,
    store.name                               AS store,
    -- Optional: a row where this is true is left out as "opted out in the warehouse". It could be
    -- a WHERE as well, but then nobody would see how many there are.
    opt_out.customer_id IS NOT NULL          AS opted_out
FROM shop.customer
JOIN shop.store ON store.id = customer.store_id
LEFT JOIN shop.sms_opt_out AS opt_out ON opt_out.customer_id = customer.id
ORDER BY customer.points DESC NULLS LAST, customer.id
