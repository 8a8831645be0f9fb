-- The oldest waiting parcel of each customer. A customer who opted out of marketing still needs
-- this message, so the query does not read shop.sms_opt_out. A number in the ledger's stop list
-- gets no message at all.
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
