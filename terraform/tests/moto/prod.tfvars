account_id = "123456789012"
domain     = "prod.example.com"
emails     = ["operators@example.com"]
admins     = ["arn:aws:iam::123456789012:role/operators"]
