# Buckets: pictures of goods, build caches, access logs. Nothing in them is public, and nothing is read without TLS.

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id

  # Names of buckets are unique in the world, hence the account in them.
  buckets = {
    images = { versioned = true, expire_days = null, own_key = true }
    caches = { versioned = false, expire_days = var.cache_days, own_key = true }
    logs   = { versioned = false, expire_days = var.log_days, own_key = false }
  }
  logged_buckets = ["caches", "images"]
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_19:Each bucket has its rule of encryption below; through for_each it is not found
  #checkov:skip=CKV_AWS_144:Pictures can be uploaded again and caches rebuilt; a second region is not part of the platform
  #checkov:skip=CKV_AWS_145:Access logs of load balancers can only be written under S3's own key; the other buckets have ours
  #checkov:skip=CKV_AWS_18:The bucket of the access logs does not log itself; the other two do
  #checkov:skip=CKV_AWS_21:Caches and logs are not versioned: each object is written once
  #checkov:skip=CKV2_AWS_62:Nothing reacts to objects; services publish events of their own
  for_each = local.buckets

  bucket        = "${var.name}-${local.account}-${each.key}"
  force_destroy = var.deletable_with_objects

  tags = { Name = "${var.name}-${each.key}" }
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = local.buckets

  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = { for name, bucket in local.buckets : name => bucket if bucket.versioned }

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    bucket_key_enabled = each.value.own_key

    apply_server_side_encryption_by_default {
      sse_algorithm     = each.value.own_key ? "aws:kms" : "AES256"
      kms_master_key_id = each.value.own_key ? var.data_key_arn : null
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = each.value.versioned ? ["old-versions"] : []

    content {
      id     = rule.value
      status = "Enabled"

      filter {}

      noncurrent_version_expiration {
        noncurrent_days = 30
      }
    }
  }

  dynamic "rule" {
    for_each = each.value.expire_days == null ? [] : [each.value.expire_days]

    content {
      id     = "expiry"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}

resource "aws_s3_bucket_logging" "this" {
  for_each = toset(local.logged_buckets)

  bucket        = aws_s3_bucket.this[each.value].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "s3/${each.value}/"

  depends_on = [aws_s3_bucket_policy.this]
}

resource "aws_s3_bucket_policy" "this" {
  for_each = local.buckets

  bucket = aws_s3_bucket.this[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "s3:*"
        Resource  = [aws_s3_bucket.this[each.key].arn, "${aws_s3_bucket.this[each.key].arn}/*"]
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      each.key != "logs" ? [] : [{
        Sid       = "LoadBalancers"
        Effect    = "Allow"
        Principal = { Service = "logdelivery.elasticloadbalancing.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.this[each.key].arn}/alb/AWSLogs/${local.account}/*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      }],
      each.key != "logs" ? [] : [for source in local.logged_buckets : {
        Sid       = "Bucket${title(source)}"
        Effect    = "Allow"
        Principal = { Service = "logging.s3.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "${aws_s3_bucket.this[each.key].arn}/s3/${source}/*"
        Condition = {
          ArnLike      = { "aws:SourceArn" = aws_s3_bucket.this[source].arn }
          StringEquals = { "aws:SourceAccount" = local.account }
        }
      }],
    )
  })

  depends_on = [aws_s3_bucket_public_access_block.this]
}
