resource "aws_s3_bucket_policy" "state" {
  count = 0
}
