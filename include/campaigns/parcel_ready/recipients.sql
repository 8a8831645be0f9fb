-- The parcel that has waited longest, for each customer with one in a shop. A customer who
-- refused marketing still wants this message, so shop.sms_opt_out is not asked here. A number
-- that answered STOP to us gets nothing at all: that list is the ledger's, and always applies.
SELECT DISTINCT ON (parcel.customer_id)
    parcel.id                                AS parcel_id,
    customer.phone,
    customer.first_name,
    store.name                               AS store,
    parcel.pickup_code,
    to_char(parcel.keep_until, 'DD/MM')      AS keep_until
FROM shop.parcel
JOIN shop.customer ON customer.id = parcel.customer_id
JOIN shop.store ON store.id = parcel.store_id
WHERE parcel.status = 'waiting'
ORDER BY parcel.customer_id, parcel.arrived_on, parcel.id
