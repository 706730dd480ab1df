resource "aws_s3_bucket_policy" "state" {
  count = 0
}

resource "aws_s3_bucket" "state" {
  lifecycle {
    prevent_destroy = false
  }
}

resource "aws_kms_key" "state" {
  lifecycle {
    prevent_destroy = false
  }
}
