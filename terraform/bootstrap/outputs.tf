output "backend" {
  description = "What an environment's backend.hcl says."
  value = {
    bucket     = aws_s3_bucket.state.bucket
    region     = var.region
    kms_key_id = aws_kms_key.state.arn
  }
}
