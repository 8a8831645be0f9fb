SELECT key, msisdn, first_name, points, store FROM recipient
